"""What a model is calibrated on: rows of token ids, and which of their tokens count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Samples:
    """Rows of token ids; the first `skipped` tokens of each are read, but do not count."""

    rows: tuple[tuple[int, ...], ...]
    skipped: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """How many tokens count."""
        return sum(map(len, self.rows)) - sum(self.skipped)

    def batches(self, tokens: int) -> Iterator[list[int]]:
        """Yield places of rows by length, of at most `tokens` together when padded, or one."""
        group: list[int] = []
        for place in sorted(range(len(self.rows)), key=lambda place: len(self.rows[place])):
            if group and (len(group) + 1) * len(self.rows[place]) > tokens:
                yield group
                group = []
            group.append(place)
        if group:
            yield group

    def padded(self, places: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return ids [rows, longest], padded on the right, and which of them count.

        A causal model does not see what comes after a token, so it needs no mask.
        """
        longest = max(len(self.rows[place]) for place in places)
        ids = np.zeros((len(places), longest), np.int64)
        counted = np.zeros((len(places), longest), np.bool_)
        for at, place in enumerate(places):
            row = self.rows[place]
            ids[at, : len(row)] = row
            counted[at, self.skipped[place] : len(row)] = True
        return ids, counted


def sample(
    rows: Sequence[Sequence[int]], nsamples: int, seqlen: int, seed: int, prefix: int
) -> Samples:
    """Return `nsamples` of the rows, drawn with `seed`, each cut to `seqlen` tokens.

    Where all rows begin with the same turns, these count in the first row only: their states are
    the same in every row, and would else outweigh all the rest. Half of the rows are then given
    without them, behind the token `prefix`, as a text is that stands by itself.
    """
    order = np.random.default_rng(seed).permutation(len(rows))[:nsamples]
    drawn = [tuple(rows[place][:seqlen]) for place in order if len(rows[place]) > 1]
    shared = common_beginning(drawn)
    if shared < 2:
        return Samples(tuple(drawn), (0,) * len(drawn))
    whole = drawn[: (len(drawn) + 1) // 2]
    bare = [(prefix, *row[shared:]) for row in drawn[len(whole) :]]
    skipped = [shared if place else 0 for place in range(len(whole))]
    return Samples((*whole, *bare), (*skipped, *[0] * len(bare)))


def common_beginning(rows: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all rows begin with; 0 where there is one row only."""
    if len(rows) < 2:
        return 0
    low, high = min(rows), max(rows)
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return same
