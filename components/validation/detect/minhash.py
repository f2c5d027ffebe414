"""MinHash signatures (Broder 1997) of character shingles, as numpy computes them fastest."""

from typing import Any

import numpy as np

from components.validation.detect.characters import Places
from components.validation.detect.folded import Folded
from components.validation.detect.hashing import seeded, spans, windows

Signatures = np.ndarray[Any, np.dtype[np.uint32]]

NUM_PERM = 128
NGRAM = 4
LONG, LONGER = 400, 2
"""Texts of so many characters use longer shingles, because in long ones all short ones occur. A
copy is not found where it is that long and its original is not."""

CHUNK = 1 << 18
"""Bytes of text at once: shingles and their hashes then stay in the processor's cache."""


def signed(rows: Folded, num_perm: int, ngram: int, seed: int) -> Signatures:
    """Return the signatures of rows, `[num_perm, rows]`.

    Permutation k is h → a·h + b modulo 2^32 on 32-bit hashes of the shingles.
    """
    lengths = np.diff(rows.starts)
    long = lengths >= LONG
    if long.any() and not long.all():
        out = np.empty((num_perm, len(long)), np.uint32)
        for mask in (long, ~long):
            starts = np.concatenate([[0], np.cumsum(lengths[mask])])
            part = Folded(rows.codes[np.repeat(mask, lengths)], starts)
            out[:, mask] = signed(part, num_perm, ngram, seed)
        return out
    shingles, starts = _shingles(rows, ngram + (LONGER if long.any() else 0))
    factors = seeded(seed, 2 * num_perm)
    multiply = (factors[:num_perm] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    add = (factors[num_perm:] >> np.uint64(32)).astype(np.uint32)
    out = np.empty((num_perm, len(starts) - 1), np.uint32)
    buffer = np.empty_like(shingles)
    for k in range(num_perm):
        np.multiply(shingles, multiply[k], out=buffer)
        np.add(buffer, add[k], out=buffer)
        np.minimum.reduceat(buffer, starts[:-1], out=out[k])
    return out


def _shingles(rows: Folded, ngram: int) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], Places]:
    """Return 32-bit hashes of the shingles of each row, at least one a row."""
    values = rows.codes.astype(np.uint64)
    hashes, starts = windows(values, rows.starts, ngram)
    short = np.flatnonzero(np.diff(starts) == 0)
    if len(short):
        whole = spans(values, rows.starts[short], rows.starts[short + 1])
        hashes = np.insert(hashes, starts[short], whole)
        starts = starts + np.searchsorted(short, np.arange(len(starts)))
    return (hashes >> np.uint64(32)).astype(np.uint32), starts
