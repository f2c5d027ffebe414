"""The search for the first bad one of several, in as few looks as can be: nothing but numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """What a search found: the first bad point is one of `suspects`, in order.

    One suspect is the answer. There are more only where points between them could not be looked at.
    `looks` counts the points that were looked at, `skipped` are those that told nothing.
    """

    suspects: tuple[int, ...]
    looks: int
    skipped: tuple[int, ...] = ()

    @property
    def first_bad(self) -> int | None:
        return self.suspects[0] if len(self.suspects) == 1 else None


def most_looks(candidates: int) -> int:
    """Return the most looks that a search among `candidates` takes: ⌈log2 candidates⌉."""
    return math.ceil(math.log2(candidates)) if candidates > 1 else 0


def search(last: int, is_bad: Callable[[int], bool | None]) -> Span:
    """Find the first bad point of 1 … `last`; point 0 is known to be good and `last` to be bad.

    `is_bad(n)` is asked of points between them, each once. If all points are good up to one and bad
    from there on, at most `most_looks(last)` are asked and that one is found. If not, what is found
    is a bad point that follows a good one. `None` says that a point tells nothing: then the
    nearest one to the middle that tells something is asked in its place, which costs more looks.

    Raises `ValueError` unless `last` is at least 1.
    """
    if last < 1:
        raise ValueError(f"nothing to search: the last point is {last}")
    good, bad, looks = 0, last, 0
    skipped: list[int] = []
    while (point := _nearest_middle(good, bad, skipped)) is not None:
        told = is_bad(point)
        looks += 1
        if told is None:
            skipped.append(point)
        elif told:
            bad = point
        else:
            good = point
    return Span(tuple(range(good + 1, bad + 1)), looks, tuple(sorted(skipped)))


def _nearest_middle(good: int, bad: int, skipped: Sequence[int]) -> int | None:
    """Return the point between `good` and `bad`, and not skipped, that is nearest to the middle."""
    middle = (good + bad) // 2
    open_ = [n for n in range(good + 1, bad) if n not in skipped]
    return min(open_, key=lambda n: (abs(n - middle), n), default=None)


@dataclass(frozen=True)
class Ends:
    """The figures of the good and the bad end, and how far figures move by chance."""

    good: float
    bad: float
    margin: float
    higher_is_better: bool

    @property
    def worsening(self) -> float:
        """How much worse the bad end is; below 0 it is better."""
        gap = self.good - self.bad
        return gap if self.higher_is_better else -gap

    @property
    def told_apart(self) -> bool:
        return self.worsening > self.margin

    def is_bad(self, figure: float) -> bool:
        """Say on which side of the middle between both ends a figure lies; on it, it is bad."""
        middle = (self.good + self.bad) / 2
        return figure <= middle if self.higher_is_better else figure >= middle


def doubts(
    ends: Ends, figures: Mapping[int, float], found: Span, name: Callable[[int], str] = str
) -> list[str]:
    """Return what speaks against a single step from good to bad at `found`; empty if nothing does.

    `figures` are those that were measured, by point, both ends among them; `name` tells a point. A
    search sees what it looks at alone, so silence is no proof.
    """
    told = [
        f"{name(point)} ({figure:.4g}) lies between the good ({ends.good:.4g}) and the bad end "
        f"({ends.bad:.4g}), more than the margin ({ends.margin:.2g}) from both"
        for point, figure in sorted(figures.items())
        if _between(ends, figure)
    ]
    first = found.first_bad
    if first is not None and first in figures and first - 1 in figures:
        step = abs(figures[first] - figures[first - 1])
        if step < abs(ends.worsening) / 2:
            told.append(
                f"the step at {name(first)} is {step:.4g}, less than half of the whole "
                f"{ends.worsening:.4g}: it got worse bit by bit, or by chance"
            )
    return told + _out_of_order(ends, figures, name)


def _between(ends: Ends, figure: float) -> bool:
    far = min(abs(figure - ends.good), abs(figure - ends.bad)) > ends.margin
    return far and min(ends.good, ends.bad) < figure < max(ends.good, ends.bad)


def _out_of_order(
    ends: Ends, figures: Mapping[int, float], name: Callable[[int], str]
) -> list[str]:
    """Tell of points that are better than the good end, or worse than the bad end."""
    sign = 1 if ends.higher_is_better else -1
    told: list[str] = []
    for point, figure in sorted(figures.items()):
        better = sign * (figure - ends.good) > ends.margin
        if better or sign * (ends.bad - figure) > ends.margin:
            end = "better than the good" if better else "worse than the bad"
            told.append(
                f"{name(point)} ({figure:.4g}) is {end} end by more than the margin "
                f"({ends.margin:.2g}): the figures do not go one way"
            )
    return told
