"""Texts of like length as padded batches, for models that read both ways."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def groups(rows: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Yield indices of rows of like length, of at most `most` tokens with padding, or of one row.

    The same rows always make the same groups: what a row is padded to is part of its numbers.
    """
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * len(rows[index]) > most:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Ids, Ids]:
    """Return ids and mask [rows, longest], padded on the right with `pad`."""
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask
