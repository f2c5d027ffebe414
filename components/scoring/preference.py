"""Pairs of answers: which of the two a model prefers, and what tuning added to that.

A preference row is an item with two choices, the chosen answer first: `accuracy` is then the share
of pairs whose chosen answer is the likelier one. What a tuned model adds over its base is its
implicit reward, log π(y|x) − log π_base(y|x) (Rafailov et al. 2023, arXiv:2305.18290, eq. 5, up to
the factor β): the pair is rewarded rightly when that of the chosen answer is higher.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.contracts.errors import DataError
from components.scoring.items import Item, Score
from components.scoring.metrics import wilson

CHOSEN = 0
"""The index of the better answer among the two choices of a pair."""


@dataclass(frozen=True)
class ImplicitReward:
    """How a tuned model rewards pairs, against its base.

    `accuracy` is the share of pairs whose chosen answer gets the higher reward (a tie counts as
    not), with its 95 % Wilson interval. `p` is the exact two-sided binomial test of one half;
    `margin` the mean difference of the two rewards in nats, β left out.
    """

    pairs: int
    right: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    p: float
    margin: float

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "accuracy_interval": list(self.accuracy_interval)}

    def words(self) -> str:
        """Say it in a sentence."""
        low, high = (100 * bound for bound in self.accuracy_interval)
        return (
            f"higher for the chosen answer in {100 * self.accuracy:.1f} % of {self.pairs} pairs "
            f"({low:.1f} … {high:.1f}), p = {self.p:.1g}, mean margin {self.margin:+.2f} nats"
        )


def is_pair(item: Item) -> bool:
    """Say whether an item is a pair of answers: label words have no end-of-sequence token."""
    return len(item.choices) == 2 and item.choices[CHOSEN] == item.answer


def implicit_reward(tuned: Sequence[Score], base: Sequence[Score]) -> ImplicitReward:
    """Compare what both models make of the same pairs.

    Raises:
        DataError: the pairs differ, or an item is no pair.
    """
    if [s.id for s in tuned] != [s.id for s in base]:
        raise DataError(
            "the two models did not answer the same items in the same order",
            fix="run the line again: evaluate and verify must read the same tokens",
        )
    if any(len(score.choice_logprobs) != 2 for score in (*tuned, *base)) or not tuned:
        raise DataError(
            "implicit rewards are of pairs of answers, but some held-out rows are none",
            fix="use format: {kind: preference} for all rows of the recipe",
        )
    margins = [reward_margin(ours, theirs) for ours, theirs in zip(tuned, base, strict=True)]
    right = sum(margin > 0 for margin in margins)
    return ImplicitReward(
        pairs=len(margins),
        right=right,
        accuracy=right / len(margins),
        accuracy_interval=wilson(right, len(margins)),
        p=binomial(right, len(margins)),
        margin=sum(margins) / len(margins),
    )


def reward_margin(tuned: Score, base: Score) -> float:
    """Return the implicit reward of the chosen answer over that of the rejected one, in nats."""
    ours, theirs = tuned.choice_logprobs, base.choice_logprobs
    return (ours[CHOSEN] - theirs[CHOSEN]) - (ours[1 - CHOSEN] - theirs[1 - CHOSEN])


def binomial(successes: int, total: int) -> float:
    """Return the exact two-sided p of `successes` out of `total` at a chance of one half."""
    from scipy.stats import binomtest

    return float(binomtest(successes, total, 0.5).pvalue)
