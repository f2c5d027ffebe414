"""The score interval of a paired difference of proportions: honest where few items differ.

Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design" (Statistics in Medicine 17, 891-908). A bootstrap of twelve items on which
two models never differ says that they never will; this interval says ±24 points.
"""

from math import sqrt
from statistics import NormalDist


def score_interval(
    gained: int, lost: int, items: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the difference (gained - lost) / items, a share of 1."""
    from scipy.optimize import brentq

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (gained - lost) / items
    low = high = middle
    if middle > -1:
        low = brentq(lambda d: _score(d, gained, lost, items) - z, -1 + 1e-12, middle)
    if middle < 1:
        high = brentq(lambda d: _score(d, gained, lost, items) + z, middle, 1 - 1e-12)
    return float(low), float(high)


def _score(difference: float, gained: int, lost: int, items: int) -> float:
    """Return Tango's score statistic of a supposed difference; it falls as that grows.

    The share of items that only the reference has right is the likeliest one under it.
    """
    b = -gained - lost + (2 * items - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (sqrt(max(b * b - 8 * items * c, 0.0)) - b) / (4 * items)
    variance = items * (2 * share + difference * (1 - difference))
    above = gained - lost - items * difference
    return 0.0 if above == 0 else above / sqrt(max(variance, 1e-12))
