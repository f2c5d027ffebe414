"""Two models on the same items of several tasks: better, worse, or no difference shown.

Right or wrong is judged by the exact McNemar test, everything else by a paired bootstrap over
items; over the tasks of a comparison p is corrected after Holm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from components.contracts.errors import DataError
from components.scoring.comparison import mcnemar, paired_interval
from components.scoring.measures import (
    RESAMPLES,
    Measure,
    Sums,
    measure_named,
    resampled,
    right_or_wrong,
)
from components.scoring.requests import Answer, Plan, marks_of

ALPHA = 0.01
"""The largest p, after Holm's correction, that is called a difference."""

POWER = 0.8

ROUNDING = 1e-4
"""Figures that differ by less than this share are equal: the same model in another runtime adds up
in another order, and a shift of a millionth in every item would be as sure as it is idle.
"""


@dataclass(frozen=True)
class Paired:
    """How a model's figure differs from the reference's on the same items.

    `difference` is figure minus figure, `interval` its 95 % paired bootstrap interval. `p` is that
    of the test alone, `p_holm` after Holm's correction over the tasks that were compared together.
    `smallest_gap` is the difference that so many items, as much at odds as these, would have shown
    with a power of 80 % (before that correction). `better` and `worse` need p_holm ≤ alpha. Where
    items are right or wrong, `gained` and `lost` count those that only one of the two has right.
    """

    task: str
    measure: str
    items: int
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    smallest_gap: float
    test: str
    alpha: float = ALPHA
    gained: int | None = None
    lost: int | None = None

    @property
    def outcome(self) -> str:
        """`better`, `worse` or `no difference shown`, minding which way the measure points."""
        if self.p_holm > self.alpha or self.difference == 0:
            return "no difference shown"
        up = measure_named(self.measure).higher_is_better
        return "better" if (self.difference > 0) == up else "worse"

    def words(self) -> str:
        """Say it in a sentence, shares in points."""
        points = measure_named(self.measure).points
        scale, unit = (100, " points") if points else (1, f" of {self.measure}")
        size, low, high, gap = (
            scale * value for value in (self.difference, *self.interval, self.smallest_gap)
        )
        # The interval is told the way the sentence goes: "worse by 3 (1 … 5)".
        if self.outcome != "no difference shown" and size < 0:
            size, low, high = -size, -high, -low
        if self.outcome == "no difference shown":
            return (
                f"no difference shown: {size:+.3g}{unit} ({low:+.3g} … {high:+.3g}), "
                f"p = {self.p_holm:.1g}; {self.items} items could show {gap:.2g}{unit}"
            )
        return (
            f"{self.outcome} by {size:.3g}{unit} ({low:.3g} … {high:.3g}), "
            f"p = {self.p_holm:.1g}, {self.items} items"
        )

    def facts(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "interval": list(self.interval),
            "outcome": self.outcome,
            "words": self.words(),
        }


def compare_tasks(
    plans: Sequence[Plan],
    model: Mapping[str, Sequence[Answer]],
    reference: Mapping[str, Sequence[Answer]],
    *,
    alpha: float = ALPHA,
    seed: int = 0,
) -> list[Paired]:
    """Compare two models by the first measure of every task, answers given by the plan's name.

    Raises `DataError` where the two did not answer the same items.
    """
    found = [
        compare_answers(
            plan.name,
            plan.measures[0],
            model[plan.name],
            reference[plan.name],
            alpha=alpha,
            seed=seed,
        )
        for plan in plans
    ]
    corrected = holm([one.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]


def compare_answers(
    task: str,
    measure: str,
    model: Sequence[Answer],
    reference: Sequence[Answer],
    *,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Paired:
    """Compare two models by one measure; raise `DataError` if their items differ."""
    if [one.id for one in model] != [one.id for one in reference]:
        raise DataError(
            f"the two models did not answer the same items of '{task}' in the same order",
            fix="run the line again: every model must answer the requests of one evaluation",
        )
    figure, marks = measure_named(measure), (marks_of(model, measure), marks_of(reference, measure))
    simple = all(right_or_wrong(figure, one) for one in marks)
    compare = compare_right if simple else compare_by_bootstrap
    difference, interval, p, gap, test = compare(figure, *marks, alpha, seed)
    found = Paired(task, measure, len(model), difference, interval, p, p, gap, test, alpha=alpha)
    if not simple:
        return found
    ours, theirs = (one[:, 0] > 0 for one in marks)
    return replace(found, gained=int((ours & ~theirs).sum()), lost=int((theirs & ~ours).sum()))


Judged = tuple[float, tuple[float, float], float, float, str]
"""Difference, 95 % interval, p, the smallest gap that could be shown, name of the test."""


def compare_right(
    measure: Measure, model: Sums, reference: Sums, alpha: float, seed: int
) -> Judged:
    """Compare right answers: exact McNemar test (McNemar 1947) over those only one has right."""
    del measure
    ours, theirs, items = model[:, 0] > 0, reference[:, 0] > 0, len(model)
    gained, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    gap = smallest_gap((gained + lost) / items, items, alpha=alpha)
    interval = paired_interval(gained, lost, items, seed=seed)
    return (gained - lost) / items, interval, mcnemar(gained, lost), gap, "mcnemar"


def compare_by_bootstrap(
    measure: Measure, model: Sums, reference: Sums, alpha: float, seed: int
) -> Judged:
    """Compare any measure: items are resampled for both models together.

    p is twice the share of resamples on the other side of no difference, counted with the one
    sample that was seen (Davison & Hinkley 1997, 4.11): never below 2 / (resamples + 1). It is 1
    where the figures are equal but for rounding.
    """
    both = resampled(np.concatenate([model, reference], axis=1), seed=seed)
    width = model.shape[1]
    moved = measure.value(both[:, :width]) - measure.value(both[:, width:])
    before = float(measure.value(reference.sum(0)))
    difference = float(measure.value(model.sum(0))) - before
    beyond = min(int((moved <= 0).sum()), int((moved >= 0).sum()))
    p = min(1.0, 2 * (beyond + 1) / (RESAMPLES + 1))
    if abs(difference) <= ROUNDING * abs(before):
        p = 1.0
    low, high = (float(end) for end in np.percentile(moved, [2.5, 97.5]))
    return difference, (low, high), p, _reach(alpha) * float(moved.std()), "bootstrap"


def smallest_gap(discordant: float, items: int, *, alpha: float = ALPHA) -> float:
    """Return the difference in right answers that `items` would show with a power of 80 %.

    `discordant` is the share of items that only one of the two has right. From the normal
    approximation of McNemar's test, items = (z_{1-α/2} + z_0.8)² · discordant / gap² (7.84 for α =
    0.05), but never less than the exact test needs if all that differ go one way.
    """
    least = int(np.ceil(np.log2(2 / alpha)))  # 2 · ½ⁿ ≤ α
    return float(min(1.0, max(_reach(alpha) * np.sqrt(discordant / items), least / items)))


def items_needed(discordant: float, gap: float, *, alpha: float = ALPHA) -> int:
    """Return how many items show a difference of `gap` with a power of 80 %; see `smallest_gap`."""
    return int(np.ceil(_reach(alpha) ** 2 * discordant / gap**2))


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the order they came."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(one) for one in corrected]


def _reach(alpha: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(POWER)
