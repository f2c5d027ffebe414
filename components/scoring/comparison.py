"""Two models on the same items: what changed, by how much, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.contracts.errors import DataError
from components.scoring.items import Score


@dataclass(frozen=True)
class Comparison:
    """Right answers of `model` against `reference`, paired by item.

    `gained`/`lost` count items only one of them has right. `difference` is in accuracy, with its
    95 % paired bootstrap interval; `p` is the exact two-sided McNemar test.
    """

    items: int
    gained: int
    lost: int
    difference: float
    interval: tuple[float, float]
    p: float

    @property
    def improved(self) -> bool:
        return self.difference > 0

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "interval": list(self.interval)}

    def words(self) -> str:
        """Say it in a sentence, in points of accuracy."""
        low, high = (100 * bound for bound in self.interval)
        way = "better" if self.difference > 0 else "worse" if self.difference < 0 else "equal"
        size = f" by {abs(100 * self.difference):.1f} points" if self.difference else ""
        return f"{way}{size} ({low:+.1f} … {high:+.1f}), p = {self.p:.1g}, {self.items} items"


def compare(model: Sequence[Score], reference: Sequence[Score], *, seed: int = 0) -> Comparison:
    """Compare two models on identical items; raise `DataError` if the items differ."""
    if [s.id for s in model] != [s.id for s in reference]:
        raise DataError(
            "the two models did not answer the same items in the same order",
            fix="run the line again: evaluate and verify must read the same tokens",
        )
    ours = np.array([s.right for s in model])
    theirs = np.array([s.right for s in reference])
    gained, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return Comparison(
        items=len(ours),
        gained=gained,
        lost=lost,
        difference=(gained - lost) / len(ours),
        interval=paired_interval(gained, lost, len(ours), seed=seed),
        p=mcnemar(gained, lost),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: binomial over the discordant pairs."""
    from scipy.stats import binomtest

    if gained + lost == 0:
        return 1.0
    return float(binomtest(min(gained, lost), gained + lost, 0.5).pvalue)


def paired_interval(
    gained: int, lost: int, items: int, *, seed: int, resamples: int = 9999
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the paired difference in accuracy.

    Resampling items with replacement draws (gained, lost, same) counts from a multinomial.
    """
    rng = np.random.default_rng(seed)
    shares = np.array([gained, lost, items - gained - lost]) / items
    draws = rng.multinomial(items, shares, size=resamples)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / items, [2.5, 97.5])
    return float(low), float(high)
