"""Which of several ways to round weights is the best one that costs little enough."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Goal = Literal["size", "speed"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Change:
    """How a figure of a file differs from that of full precision, with its paired 95 % interval.

    Above 0 the file is worse: points of accuracy lost (as a share), or the relative rise of a
    perplexity.
    """

    value: float
    interval: Interval


@dataclass(frozen=True)
class Measured:
    """What was measured of a candidate on `items` held-out items.

    `changes` are its losses by name; a figure that the rows do not have is not there. Speeds are
    tokens a second, one row at a time.
    """

    name: str
    items: int
    bytes: int
    bits: float
    changes: dict[str, Change]
    prefill: float
    decode: float

    def within(self, margins: "dict[str, float]") -> bool:
        """Return whether no figure lost more than its margin."""
        return all(one.value <= margins[name] for name, one in self.changes.items())

    def surely_beyond(self, margins: "dict[str, float]") -> bool:
        """Return whether a figure lost more than its margin even at the better end."""
        return any(one.interval[0] > margins[name] for name, one in self.changes.items())

    @property
    def worst(self) -> float:
        """The largest loss."""
        return max((one.value for one in self.changes.values()), default=0.0)


@dataclass(frozen=True)
class Tried:
    """A candidate after the search: `screened` ones were dropped after part of the items."""

    measured: Measured
    within: bool
    screened: bool = False
    chosen: bool = False


Measure = Callable[[str, float], Measured]
"""Measures a candidate by name on a share of the items."""


def search(
    names: Sequence[str],
    measure: Measure,
    margins: dict[str, float],
    goal: Goal,
    *,
    share: float = 0.25,
    every: bool = False,
) -> list[Tried]:
    """Try candidates in order; return what was measured, the chosen one marked.

    Each is first measured on a `share` of the items, and on all of them only where that does not
    show already that it is worse than `margins`. `names` begin with the smallest: for size the
    search ends with the first that is within the margins, unless `every` one is to be tried.
    """
    tried: list[Tried] = []
    for name in names:
        part = measure(name, share)
        if share < 1 and part.surely_beyond(margins):
            tried.append(Tried(part, within=False, screened=True))
            continue
        whole = measure(name, 1.0)
        tried.append(Tried(whole, whole.within(margins)))
        if tried[-1].within and goal == "size" and not every:
            break
    best = choose([one.measured for one in tried if one.within], goal)
    return [replace(one, chosen=one.measured is best) for one in tried]


def choose(within: Sequence[Measured], goal: Goal) -> Measured | None:
    """Return the smallest, or the one that writes fastest; of equals the one that loses least."""
    if not within:
        return None
    if goal == "speed":
        return max(within, key=lambda one: (one.decode, -one.worst))
    return min(within, key=lambda one: (one.bytes, one.worst))


def front(measured: Iterable[Measured]) -> set[str]:
    """Return the names of those that no other beats in size, loss and speed at once."""
    every = list(measured)
    return {one.name for one in every if not any(beats(other, one) for other in every)}


def beats(one: Measured, other: Measured) -> bool:
    """Return whether `one` is nowhere worse than `other`, and somewhere better."""
    ours = (one.bytes, one.worst, -one.decode)
    theirs = (other.bytes, other.worst, -other.decode)
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))
