"""A column of texts, and the few rows of it that are worth a closer look.

A detector first asks Arrow (RE2, linear time) which rows can hold what it seeks, and only those
rows become Python strings. So its cost is that of one scan of the bytes, not of a call a row.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Texts: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray
"""Texts of one column. Null counts as an empty text."""

CHUNK = 1 << 22
"""Bytes of text that are looked at at once, so that memory does not grow with the column."""

_SURROGATES = re.compile(r"[\ud800-\udfff]")


def column(texts: Texts) -> pa.LargeStringArray:
    """Return the texts as one Arrow array without nulls.

    A lone surrogate (JSON can hold one, UTF-8 cannot) becomes U+FFFD, which `damage` finds.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = pa.concat_arrays(texts.cast(pa.large_string()).chunks or [pa.array([], "str")])
    if not isinstance(texts, pa.Array):
        try:
            texts = pa.array(texts, pa.large_string())
        except UnicodeEncodeError:
            whole = [text and _SURROGATES.sub("\ufffd", text) for text in texts]
            texts = pa.array(whole, pa.large_string())
    plain = texts.cast(pa.large_string())
    return pc.fill_null(plain, "") if plain.null_count else plain


def find(
    texts: Texts, may_hold: str, look: Callable[[str], str | None], *, ignore_case: bool = False
) -> list[str | None]:
    """Return `look(text)` for the rows that match the RE2 pattern `may_hold`, None for others."""
    array = column(texts)
    found: list[str | None] = [None] * len(array)
    for row in candidates(array, may_hold, ignore_case=ignore_case).tolist():
        found[row] = look(array[row].as_py())
    return found


def candidates(
    array: pa.LargeStringArray, pattern: str, *, ignore_case: bool = False
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the indices of the rows that match an RE2 pattern."""
    mask = pc.match_substring_regex(array, pattern, ignore_case=ignore_case)
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def chunks(array: pa.LargeStringArray, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Yield `[start, stop)` of runs of rows with about `size` bytes each, at least one row."""
    ends = offsets(array)
    start = 0
    while start < len(array):
        stop = int(np.searchsorted(ends, ends[start] + size, side="right")) - 1
        stop = min(max(stop, start + 1), len(array))
        yield start, stop
        start = stop


def offsets(array: pa.LargeStringArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return where each row begins in the array's bytes, and where the last one ends."""
    buffer = array.buffers()[1]
    return np.frombuffer(buffer, np.int64)[array.offset : array.offset + len(array) + 1]
