"""Hashes of words and of runs, the same in every process and on every machine."""

import hashlib
from functools import cache
from typing import Any

import numpy as np

from components.validation.detect.characters import Hashes, Places

PRIME = np.uint64(0x9E3779B97F4A7C55)
"""An odd number, so that it has an inverse modulo 2^64."""


def mix(values: Hashes) -> Hashes:
    """Return the finaliser of splitmix64 (Steele, Lea & Flood 2014) of each value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def spans(values: Hashes, begins: Places, ends: Places) -> Hashes:
    """Return a 64-bit hash of each span `values[begin:end]`, whatever its length.

    Polynomial modulo 2^64 by prefix sums: two spans of equal values have equal hashes.
    """
    powers, inverses = _powers(1 << len(values).bit_length())
    sums = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum((values + ONE) * powers[: len(values)])]
    )
    return mix((sums[ends] - sums[begins]) * inverses[begins])


def windows(values: Hashes, starts: Places, n: int) -> tuple[Hashes, Places]:
    """Return a hash of every run of `n` values within a row, and where each row's runs begin."""
    counts = np.maximum(np.diff(starts) - n + 1, 0)
    found = np.concatenate([[0], np.cumsum(counts)])
    if not found[-1]:
        return np.empty(0, np.uint64), found
    last = len(values) - n + 1
    hashes = values[:last] + ONE
    for k in range(1, n):
        hashes = hashes * PRIME + (values[k : last + k] + ONE)
    inside = np.ones(len(values), bool)
    filled = np.diff(starts) > 0
    begins, ends = starts[:-1][filled], starts[1:][filled]
    for k in range(1, n):
        inside[np.maximum(ends - k, begins)] = False
    return mix(hashes[inside[:last]]), found


def sums(values: np.ndarray[Any, Any], starts: Places) -> Places:
    """Return the sum of the values of each row; 0 for an empty one."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    found: Places = total[starts[1:]] - total[starts[:-1]]
    return found


def firsts(hashes: Hashes) -> tuple[Places, Places]:
    """Return the first row of each different hash, and for each row the number of its hash."""
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    return first, group


def seeded(seed: int, count: int) -> Hashes:
    """Return `count` random 64-bit numbers that depend on the seed alone."""
    bits = hashlib.shake_128(f"tuneline {seed}".encode()).digest(8 * count)
    return np.frombuffer(bits, "<u8").astype(np.uint64)


ONE = np.uint64(1)


@cache
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """Return the powers of `PRIME` and of its inverse modulo 2^64."""
    inverse = np.uint64(pow(int(PRIME), -1, 1 << 64))
    both = []
    for base in (PRIME, inverse):
        powers = np.full(count, base)
        powers[0] = ONE
        both.append(np.cumprod(powers))
    return both[0], both[1]
