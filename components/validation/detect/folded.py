"""Texts as near-duplicate search sees them: words in lower case with one space between.

A word that is repeated at once counts once: mentions and exclamations come in long runs, and two
messages to the same eight people are not alike for that. A text without words stays as it is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from components.validation.detect.characters import Characters, Codes, Hashes, Places, characters
from components.validation.detect.hashing import spans, sums
from components.validation.detect.words import Words, words

SPACE = np.uint32(32)


@dataclass(frozen=True)
class Folded:
    """Code points of folded rows, each with a space before, between and after its words."""

    codes: Codes
    starts: Places

    def ids(self) -> Hashes:
        """Return a hash of each whole row."""
        return spans(self.codes.astype(np.uint64), self.starts[:-1], self.starts[1:])


def folded(array: pa.LargeStringArray) -> Folded:
    """Fold a column without nulls."""
    chars = characters(array)
    found = words(chars)
    kept = _kept(found)
    begins, ends = found.begins[kept], found.ends[kept]
    counts = sums(kept, found.starts)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        begins, ends, counts = _with_whole(chars, begins, ends, counts, empty)
    return _joined(found.codes, begins, ends, counts)


def _kept(found: Words) -> np.ndarray[Any, np.dtype[np.bool_]]:
    kept = np.ones(len(found.ids), bool)
    kept[1:] = found.ids[1:] != found.ids[:-1]
    kept[found.starts[:-1][np.diff(found.starts) > 0]] = True
    return kept


def _with_whole(
    chars: Characters, begins: Places, ends: Places, counts: Places, empty: Places
) -> tuple[Places, Places, Places]:
    """Add each row that has no words as one word."""
    places = (np.cumsum(counts) - counts)[empty]
    counts = counts.copy()
    counts[empty] = 1
    begins = np.insert(begins, places, chars.starts[empty])
    return begins, np.insert(ends, places, chars.starts[empty + 1]), counts


def _joined(codes: Codes, begins: Places, ends: Places, counts: Places) -> Folded:
    """Put the words of each row behind each other: a space, then each word with a space."""
    lengths = ends - begins + 1
    first = np.cumsum(counts) - counts
    lengths[first] += 1
    stops = np.cumsum(lengths)
    out = np.full(int(stops[-1]) if len(stops) else 0, SPACE)
    # Each character goes as far from its place in `codes` as its word does.
    shift = stops - 1 - ends
    inside = np.repeat(shift, ends - begins)
    source = np.arange(len(inside)) + np.repeat(
        begins - (np.cumsum(ends - begins) - (ends - begins)), ends - begins
    )
    out[source + inside] = codes[source]
    starts = (
        np.concatenate([[0], stops[np.cumsum(counts) - 1]]) if len(stops) else np.zeros(1, np.int64)
    )
    return Folded(out, starts.astype(np.int64))
