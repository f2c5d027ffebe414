"""How often one model's answers were preferred, how sure that is, and how far raters agree."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.scoring.comparison import mcnemar
from components.scoring.metrics import wilson

ALPHA = 0.05
Unit = Sequence[Hashable]
"""What the raters of one item said of it."""


@dataclass(frozen=True)
class Tally:
    """Items in which `model` was preferred, in which `reference` was, and in which neither."""

    model: str
    reference: str
    wins: int
    losses: int
    ties: int

    @property
    def items(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def win_rate(self) -> float | None:
        """Share of wins among the decided items: ties are told apart."""
        return self.wins / self.decided if self.decided else None

    @property
    def p(self) -> float:
        """The exact two-sided sign test (Dixon & Mood 1946): McNemar's, on wins and losses."""
        return mcnemar(self.wins, self.losses)

    def facts(self) -> dict[str, Any]:
        """Return counts, win rate, 95 % intervals (Wilson's, and Clopper & Pearson's exact), p."""
        return {
            "wins": self.wins,
            "losses": self.losses,
            "ties": self.ties,
            "items": self.items,
            "win_rate": self.win_rate,
            "win_rate_interval": list(wilson(self.wins, self.decided)),
            "win_rate_exact_interval": list(clopper_pearson(self.wins, self.decided)),
            "p": self.p,
            "words": self.words(),
        }

    def words(self) -> str:
        """Say it in a sentence."""
        counts = (
            f"{self.model} against {self.reference}: {self.wins} won, {self.losses} lost, "
            f"{_count(self.ties, 'tie')} of {_count(self.items, 'item')}"
        )
        if self.win_rate is None:
            return f"{counts}; nothing is decided"
        low, high = (100 * bound for bound in wilson(self.wins, self.decided))
        rate = f"win rate {100 * self.win_rate:.1f} % ({low:.1f} … {high:.1f})"
        return f"{counts}; {rate}, p = {self.p:.1g}: {self.meaning()}"

    def meaning(self) -> str:
        """Say which model is preferred, or from what win rate on so many items could show it."""
        if self.p <= ALPHA:
            return f"{self.model if self.wins > self.losses else self.reference} is preferred"
        least = smallest_win_rate(self.decided)
        could = f"{_count(self.decided, 'decided item')} could show a win rate of {100 * least:.0f}"
        return f"no preference shown; {could} %" if least < 1 else "no preference shown: too few"


def clopper_pearson(successes: int, total: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a proportion (Clopper & Pearson 1934)."""
    from scipy.stats import binomtest

    if total == 0:
        return (0.0, 1.0)
    found = binomtest(successes, total).proportion_ci(method="exact")
    return (float(found.low), float(found.high))


def smallest_win_rate(decided: int) -> float:
    """Return the win rate that the sign test shows with 80 % power among `decided` items, about.

    By the normal approximation of the test's power; 1 where nothing below it could be shown.
    """
    for percent in range(51, 100):
        rate = percent / 100
        reach = (rate - 0.5) * math.sqrt(decided) - 1.959964 * 0.5
        if reach >= 0.841621 * math.sqrt(rate * (1 - rate)):
            return rate
    return 1.0


def majority(choices: Sequence[int]) -> int:
    """Return what the raters of an item say together: 1 for the model, -1 for its reference, 0.

    Raters of one item are no further items: each item counts once.
    """
    total = sum(choices)
    return (total > 0) - (total < 0)


def krippendorff_alpha(units: Sequence[Unit]) -> float | None:
    """Return Krippendorff's alpha for nominal data: 1 − D_o / D_e.

    Any number of raters, any of whom may have left items out; items with one rating say nothing.
    `None` if there are none with two, or if all say the same (chance is then no yardstick). Source:
    K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C.
    """
    counts, observed = _disagreements(units)
    alpha = float(_alphas(counts, observed, np.ones((1, len(counts))))[0])
    return None if math.isnan(alpha) else alpha


def alpha_interval(units: Sequence[Unit], *, resamples: int = 2000) -> list[float] | None:
    """Return the 95 % percentile bootstrap interval of alpha over items; `None` below ten items."""
    counts, observed = _disagreements(units)
    if len(counts) < 10:
        return None
    draws = np.random.default_rng(0).integers(len(counts), size=(resamples, len(counts)))
    weights = np.stack([np.bincount(draw, minlength=len(counts)) for draw in draws])
    found = _alphas(counts, observed, weights)
    known = found[~np.isnan(found)]
    return [float(bound) for bound in np.percentile(known, [2.5, 97.5])] if len(known) else None


def _disagreements(units: Sequence[Unit]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, of each item with two ratings or more, how often each value was given [items, values]
    and its share of the observed coincidences of unlike values [items].
    """
    paired = [unit for unit in units if len(unit) > 1]
    values = sorted({value for unit in paired for value in unit}, key=repr)
    counts = np.array([[unit.count(v) for v in values] for unit in paired], np.float64)
    counts = counts.reshape(len(paired), len(values))
    sizes = counts.sum(axis=1)
    return counts, (sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1)


def _alphas(
    counts: NDArray[np.float64], observed: NDArray[np.float64], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """Return alpha [draws] where each item counts `weights` [draws, items] times, or NaN."""
    totals = weights @ counts
    size = totals.sum(axis=1)
    expected = size**2 - (totals**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        alphas = 1 - (size - 1) * (weights @ observed) / expected
    return np.where(expected > 0, alphas, np.nan)


def cohen_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Return Cohen's kappa of two raters over the items both have rated: (p_o − p_e) / (1 − p_e).

    `None` without items or where both always say the one same thing. Source: J. Cohen, "A
    Coefficient of Agreement for Nominal Scales" (1960).
    """
    if not pairs:
        return None
    size = len(pairs)
    ours, theirs = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    chance = sum(ours[name] * theirs[name] for name in ours) / size**2
    if chance == 1:
        return None
    return (sum(one == other for one, other in pairs) / size - chance) / (1 - chance)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
