"""Rows that hold a piece of an evaluation set."""

from typing import Any

import numpy as np

from components.validation.detect.characters import Hashes, Places, characters, parts
from components.validation.detect.columns import Texts, column
from components.validation.detect.hashing import spans, windows
from components.validation.detect.words import words


def ngram_matches(
    texts: Texts, others: Texts, n: int = 13, *, shortest: int = 8
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return for each text the first of `others` that shares a run of `n` words, or -1.

    Words are compared without case, punctuation and spacing. This is the overlap of Brown et al.
    2020 ("Language Models are Few-Shot Learners", appendix C), where n is 8 to 13. One of `others`
    with fewer than `n` words matches a text that holds all of it in one run; one with fewer than
    `shortest` words only a text that has the very same words, because short runs coincide.
    """
    array = column(texts)
    wanted = _Wanted(column(others), n, shortest)
    first = np.full(len(array), wanted.none, np.int64)
    for start, chars in parts(array):
        found = words(chars)
        part = first[start : start + len(chars)]
        np.minimum(part, wanted.equal(found.ids, found.starts), out=part)
        for length in wanted.lengths:
            hashes, starts = windows(found.ids, found.starts, length)
            np.minimum(part, wanted.within(length, hashes, starts), out=part)
    return np.where(first == wanted.none, -1, first)


class _Wanted:
    """The runs to look for: by their length, and whole short texts."""

    def __init__(self, others: Any, n: int, shortest: int) -> None:
        found = words(characters(others))
        counts = np.diff(found.starts)
        self.none = len(others)
        self._runs: dict[int, tuple[Hashes, Places]] = {}
        for length in np.unique(np.minimum(counts, n)).tolist():
            if length < min(shortest, n):
                continue
            hashes, starts = windows(found.ids, found.starts, length)
            rows = np.repeat(np.arange(len(others)), np.diff(starts))
            right = (counts[rows] == length) | (length == n)
            self._runs[length] = _firsts(hashes[right], rows[right])
        short = np.flatnonzero((counts > 0) & (counts < min(shortest, n)))
        whole = spans(found.ids, found.starts[short], found.starts[short + 1])
        self._short = _firsts(whole, short)
        self.lengths = tuple(self._runs)

    def equal(self, ids: Hashes, starts: Places) -> Places:
        """Return for each row the first short text that it equals."""
        return self._look(*self._short, spans(ids, starts[:-1], starts[1:]))

    def within(self, length: int, hashes: Hashes, starts: Places) -> Places:
        """Return for each row the first text that shares a run of this length."""
        keys, rows = self._runs[length]
        first = np.full(len(starts) - 1, self.none, np.int64)
        hits = np.flatnonzero(_maybe(keys, hashes))
        at = np.searchsorted(starts, hits, side="right") - 1
        np.minimum.at(first, at, self._look(keys, rows, hashes[hits]))
        return first

    def _look(self, keys: Hashes, rows: Places, hashes: Hashes) -> Places:
        if not len(keys):
            return np.full(len(hashes), self.none, np.int64)
        at = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
        return np.where(keys[at] == hashes, rows[at], self.none)


def _maybe(keys: Hashes, hashes: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say which hashes may be among the keys: a table of first bits drops nearly all."""
    bits = max(10, int(len(keys) * 16).bit_length())
    shift = np.uint64(64 - bits)
    known = np.zeros(1 << bits, bool)
    known[keys >> shift] = True
    maybe: np.ndarray[Any, np.dtype[np.bool_]] = known[hashes >> shift]
    return maybe


def _firsts(hashes: Hashes, rows: Places) -> tuple[Hashes, Places]:
    """Return the different hashes in order, each with its first row."""
    keys, first = np.unique(hashes, return_index=True)
    return keys, rows[first]
