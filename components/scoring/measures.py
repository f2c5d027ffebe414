"""What is measured, as sums: each item adds its numbers, and the measure is a function of the sums.

So a measure of all items, of a slice and of a bootstrap resample are one computation, and nothing
is ever a mean of means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.scoring.metrics import wilson

Sums = NDArray[np.float64]
RESAMPLES = 9999
BLOCK = 2_000_000
"""Draws at once in a bootstrap: bounds its memory at some 40 MB."""


@dataclass(frozen=True)
class Measure:
    """A figure of merit: `value` takes sums [..., numbers an item adds] to figures [...].

    `points` says that the figure is a share of 1, told to people times 100.
    """

    value: Callable[[Sums], Any]
    higher_is_better: bool = True
    points: bool = True


def mean(sums: Sums) -> Any:
    """Sums (value, 1) → the mean."""
    return sums[..., 0] / sums[..., 1]


def perplexity(sums: Sums) -> Any:
    """Sums (negative log-likelihood in nats, units) → exp(ΣNLL / Σunits)."""
    return np.exp(sums[..., 0] / sums[..., 1])


def bits(sums: Sums) -> Any:
    """Sums (negative log-likelihood in nats, units) → bits a unit."""
    return sums[..., 0] / sums[..., 1] / np.log(2)


def chrf(sums: Sums) -> Any:
    """Sums of (hypothesis, reference, matching) n-grams for n = 1 … 6 → chrF2 in 0 … 1.

    Popović 2015, as sacrebleu computes it: the mean of precisions and of recalls over the orders
    that both sides have, then F with recall twice as important.
    """
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    said, wanted, same = counts[..., 0], counts[..., 1], counts[..., 2]
    known = (said > 0) & (wanted > 0)
    orders = np.maximum(known.sum(-1), 1)
    precision = np.where(known, same / np.maximum(said, 1), 0).sum(-1) / orders
    recall = np.where(known, same / np.maximum(wanted, 1), 0).sum(-1) / orders
    below = 4 * precision + recall
    return np.where(below > 0, 5 * precision * recall / np.where(below > 0, below, 1), 0.0)


SHARE = Measure(mean)
SURPRISE = Measure(perplexity, higher_is_better=False, points=False)

MEASURES: dict[str, Measure] = {
    "acc": SHARE,
    "acc_norm": SHARE,
    "acc_bytes": SHARE,
    "exact_match": SHARE,
    "f1": SHARE,
    "score": SHARE,
    "rouge1": SHARE,
    "rouge2": SHARE,
    "rougeL": SHARE,
    "rougeLsum": SHARE,
    "chrf": Measure(chrf),
    "pass@1": SHARE,
    "perplexity": SURPRISE,
    "token_perplexity": SURPRISE,
    "word_perplexity": SURPRISE,
    "byte_perplexity": SURPRISE,
    "clean": SHARE,
    "word_share": Measure(mean, higher_is_better=False),
    "as_expected": SHARE,
    "exposure": Measure(mean, higher_is_better=False, points=False),
    "extracted": Measure(mean, higher_is_better=False),
    "bits_per_byte": Measure(bits, higher_is_better=False, points=False),
}
"""Every measure by name. What an item adds to it: `components.scoring.marking`. `score` stands for
measures of lm-eval that we do not know and that are means over items.
"""


def measure_named(name: str) -> Measure:
    """Return the measure `name`, or the one of `name,filter`, as lm-eval writes it."""
    return MEASURES.get(name.partition(",")[0], MEASURES["score"])


def right_or_wrong(measure: Measure, marks: Sums) -> bool:
    """Say whether every item is simply right or wrong, as with one sample of pass@1 it is too."""
    return measure.value is mean and bool(
        (marks[:, 1] == 1).all() and np.isin(marks[:, 0], (0, 1)).all()
    )


def estimate(measure: Measure, marks: Sums, *, seed: int = 0) -> dict[str, Any]:
    """Return {"value", "interval", "items"} of `marks` [items, numbers an item adds].

    The 95 % interval is Wilson's where an item is right or wrong, else the percentile bootstrap
    over items (Efron 1979). Raises `DataError` without items.
    """
    if not len(marks):
        raise DataError("there is no item to measure", fix="give the task rows")
    value = float(measure.value(marks.sum(0)))
    if right_or_wrong(measure, marks):
        interval = wilson(int(marks[:, 0].sum()), len(marks))
    else:
        low, high = np.percentile(measure.value(resampled(marks, seed=seed)), [2.5, 97.5])
        interval = (float(low), float(high))
    return {"value": value, "interval": list(interval), "items": len(marks)}


def resampled(marks: Sums, *, seed: int, resamples: int = RESAMPLES) -> Sums:
    """Return the sums [resamples, …] of items drawn with replacement from `marks` [items, …].

    Two sets of marks of the same items laid side by side ([items, a + b]) are resampled together: a
    paired bootstrap.
    """
    rng = np.random.default_rng(seed)
    items = len(marks)
    step = max(1, BLOCK // items)
    parts = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, items, size=(count, items), dtype=np.int32)
        # How often each item was drawn, all resamples counted in one pass.
        drawn += (np.arange(count, dtype=np.int32) * items)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * items).reshape(count, items)
        parts.append(times.astype(np.float64) @ marks)
    return np.concatenate(parts)


def as_marks(rows: Sequence[Sequence[float]]) -> Sums:
    """Return what items add as an array [items, numbers]."""
    return np.array(rows, np.float64).reshape(len(rows), -1)
