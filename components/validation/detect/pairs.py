"""Which rows may be alike: locality-sensitive hashing of MinHash signatures."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from components.validation.detect.characters import Hashes, Places
from components.validation.detect.columns import chunks
from components.validation.detect.folded import folded
from components.validation.detect.hashing import PRIME, mix, seeded
from components.validation.detect.minhash import CHUNK, Signatures, signed

ROWS = 4
"""Values of a signature that must agree for a pair to meet in a band."""

BANDS = 128
"""Two rows of Jaccard similarity j meet with probability about 1 - (1 - j^4)^128: 0.96 at 0.4."""

NEIGHBOURS = 4
"""How many neighbours of a bucket a row is paired with, so that a large one costs no square."""

WORKERS = min(8, os.cpu_count() or 1)
"""numpy works on several threads at once; the result does not depend on their number."""

Pairs = np.ndarray[Any, np.dtype[np.uint64]]
"""Two row numbers in one value, the lower one in the high half."""

HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Prepared:
    """Rows ready for the search: `signatures` `[n, num_perm]`, `keys` `[bands, n]`, `ids` `[n]`.

    `texts` is empty where only signatures are left.
    """

    texts: pa.LargeStringArray
    signatures: Signatures
    keys: Signatures
    ids: Hashes


def prepared(
    array: pa.LargeStringArray, num_perm: int, ngram: int, seed: int, bands: int = BANDS
) -> Prepared:
    """Sign the rows of a column and hash their bands."""
    count = len(array)
    whole = Prepared(
        array,
        np.empty((count, num_perm), np.uint32),
        np.empty((bands, count), np.uint32),
        np.empty(count, np.uint64),
    )

    def fill(bounds: tuple[int, int]) -> None:
        part = slice(*bounds)
        rows = folded(array.slice(bounds[0], bounds[1] - bounds[0]))
        found = signed(rows, num_perm, ngram, seed)
        whole.ids[part] = rows.ids()
        whole.signatures[part] = found.T
        _band(found, whole.keys[:, part])

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(fill, chunks(array, CHUNK)))
    return whole


def banded(signatures: Signatures) -> Prepared:
    """Return stored signatures ready for the search."""
    keys = np.empty((BANDS, len(signatures)), np.uint32)
    _band(np.ascontiguousarray(signatures.T), keys)
    return Prepared(pa.array([], pa.large_string()), signatures, keys, np.empty(0, np.uint64))


def pairs_within(rows: Prepared, among: Places) -> Pairs:
    """Return each pair of the rows `among` that meets in a band, once."""
    # In a bucket only neighbours are paired: rows are put in the order of a value that similar rows
    # often share, so that these are neighbours whatever the order of the file.
    order = among[np.lexsort((rows.ids[among], rows.signatures[among, 0]))].astype(np.uint64)
    place = np.arange(len(order), dtype=np.uint64)

    def meet(keys: Signatures) -> Pairs:
        packed = np.sort((keys[order].astype(np.uint64) << HALF) | place)
        return _neighbours(packed, order)

    with ThreadPoolExecutor(WORKERS) as pool:
        return _once(pool.map(meet, rows.keys))


def pairs_between(rows: Prepared, others: Prepared) -> Pairs:
    """Return each pair of a row (high half) and one of `others` that meets in a band, once."""

    def meet(keys: tuple[Signatures, Signatures]) -> Pairs:
        mine, theirs = keys
        order = np.argsort(theirs, kind="stable").astype(np.uint64)
        ranked = theirs[order]
        found = [np.empty(0, np.uint64)]
        at = np.searchsorted(ranked, mine)
        for step in range(NEIGHBOURS if len(ranked) else 0):
            place = np.minimum(at + step, len(ranked) - 1)
            same = np.flatnonzero((ranked[place] == mine) & (at + step < len(ranked)))
            found.append((same.astype(np.uint64) << HALF) | order[place[same]])
        return np.concatenate(found)

    with ThreadPoolExecutor(WORKERS) as pool:
        return _once(pool.map(meet, zip(rows.keys, others.keys, strict=True)))


def split(pairs: Pairs) -> tuple[Places, Places]:
    """Return the two rows of each pair."""
    return (pairs >> HALF).astype(np.int64), (pairs & LOW).astype(np.int64)


def _neighbours(packed: Pairs, order: Hashes) -> Pairs:
    """Return pairs with the same key (the high half); the low half is a place in `order`."""
    found = [np.empty(0, np.uint64)]
    same = np.arange(len(packed) - 1)
    for step in range(1, NEIGHBOURS + 1):
        same = same[same + step < len(packed)]
        # A row that does not share its key with the next one shares it with none further on.
        same = same[packed[same] >> HALF == packed[same + step] >> HALF]
        left, right = order[packed[same] & LOW], order[packed[same + step] & LOW]
        found.append((np.minimum(left, right) << HALF) | np.maximum(left, right))
    return np.concatenate(found)


def _once(found: Iterator[Pairs]) -> Pairs:
    """Return all pairs without repeats."""
    every = np.sort(np.concatenate(list(found)))
    return every[np.concatenate([[True], every[1:] != every[:-1]])] if len(every) else every


def _band(signatures: Signatures, keys: Signatures) -> None:
    """Write a 32-bit key a band and row; signatures are `[num_perm, rows]`.

    Each value of a signature is used in several bands, each time with others.
    """
    places = _bands(len(signatures), len(keys)) if len(keys) else []
    for band, values in enumerate(places):
        key = np.zeros(signatures.shape[1], np.uint64)
        for value in values:
            key = (key + signatures[value]) * PRIME
        keys[band] = mix(key) >> HALF


def _bands(num_perm: int, bands: int) -> list[Places]:
    rounds = -(-bands * ROWS // num_perm)
    places = [np.argsort(seeded(turn, num_perm)) for turn in range(rounds)]
    return list(np.concatenate([order.reshape(-1, ROWS) for order in places])[:bands])
