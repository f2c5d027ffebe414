"""The figures that a bisect can go by, and how far apart two of them must be to be told apart.

Every figure is a function of two sums over items, as in `components.scoring.metrics`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.errors import ArtefactError, RecipeError, choose
from components.scoring.items import Score

RESAMPLES = 2000
BATCH = 100
"""Resamples drawn at a time: bounds the memory at 100 counts an item."""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """`part` gives what an item adds to both sums, `value` makes the figure of their ratio."""

    part: Callable[[Score], Pair]
    higher_is_better: bool
    value: Callable[[Any], Any] = lambda ratio: ratio


def _right(score: Score) -> Pair:
    return (score.right, 1.0) if score.answer_tokens else (0.0, 0.0)


def _greedy(score: Score) -> Pair:
    return (score.greedy, 1.0) if score.answer_tokens else (0.0, 0.0)


def _answer(score: Score) -> Pair:
    return (score.answer_nll, score.answer_tokens)


def _text(score: Score) -> Pair:
    return (score.text_nll, score.text_tokens)


def _bits(score: Score) -> Pair:
    return (score.text_nll / math.log(2), score.text_bytes)


def _exp(ratio: Any) -> Any:
    import numpy as np

    return np.exp(ratio)


FIGURES: dict[str, Figure] = {
    "accuracy": Figure(_right, higher_is_better=True),
    "exact_match": Figure(_greedy, higher_is_better=True),
    "answer_loss": Figure(_answer, higher_is_better=False),
    "answer_perplexity": Figure(_answer, higher_is_better=False, value=_exp),
    "perplexity": Figure(_text, higher_is_better=False, value=_exp),
    "bits_per_byte": Figure(_bits, higher_is_better=False),
}


def figure_named(name: str) -> Figure:
    """Return a figure by its name; raise `RecipeError` naming those there are."""
    return choose("metric", name, FIGURES, RecipeError)


def figure_of(name: str, scores: Sequence[Score]) -> float:
    """Return a figure over items; raise `ArtefactError` where these items have none."""
    above, below = _sums(figure_named(name), scores).sum(0)
    if not below:
        raise ArtefactError(
            f"the held-out rows allow no '{name}': they have no "
            f"{'text' if name in ('perplexity', 'bits_per_byte') else 'answers'} to score",
            fix="choose another --metric",
        )
    return float(figure_named(name).value(above / below))


def noise(name: str, one: Sequence[Score], other: Sequence[Score], *, seed: int = 0) -> float:
    """Return how far the difference of two models on the same items moves by the choice of items.

    Half the width of its 95 % paired bootstrap interval (Efron & Tibshirani 1993, ch. 13). What
    another seed of the training would change is not in it.
    """
    import numpy as np

    figure, items = figure_named(name), len(one)
    ours, theirs = _sums(figure, one), _sums(figure, other)
    rng = np.random.default_rng(seed)
    moved = []
    for _ in range(RESAMPLES // BATCH):
        counts = rng.multinomial(items, np.full(items, 1 / items), size=BATCH)
        moved.append(_values(figure, counts @ ours) - _values(figure, counts @ theirs))
    low, high = np.nanpercentile(np.concatenate(moved), [2.5, 97.5])
    return float(high - low) / 2


def _values(figure: Figure, sums: Any) -> Any:
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        return figure.value(sums[:, 0] / sums[:, 1])


def _sums(figure: Figure, scores: Sequence[Score]) -> Any:
    """Return what each item adds, [items, 2]."""
    import numpy as np

    return np.array([figure.part(score) for score in scores], dtype=np.float64).reshape(-1, 2)
