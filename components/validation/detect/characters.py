"""Rows as one array of code points, so that numpy can look at all characters at once."""

import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.validation.detect.columns import CHUNK, chunks, offsets

Codes = np.ndarray[Any, np.dtype[np.uint32]]
Places = np.ndarray[Any, np.dtype[np.int64]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]

PLANES = 0x40000
"""Tables cover the planes that hold characters: 0 to 3. Code points above are one unknown one."""


@dataclass(frozen=True)
class Characters:
    """Code points of rows, end to end: row r is `codes[starts[r]:starts[r + 1]]`."""

    codes: Codes
    starts: Places

    def __len__(self) -> int:
        return len(self.starts) - 1


def parts(array: pa.LargeStringArray, size: int = CHUNK) -> Iterator[tuple[int, Characters]]:
    """Yield the number of the first row and the characters of runs of rows of `size` bytes."""
    for start, stop in chunks(array, size):
        yield start, characters(array.slice(start, stop - start))


def characters(array: pa.LargeStringArray) -> Characters:
    """Return the code points of a column without nulls; those above `PLANES` as the last one."""
    lengths = pc.utf8_length(array).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ends = offsets(array)
    text = memoryview(array.buffers()[2] or b"")[ends[0] : ends[-1]]
    plain = np.frombuffer(text, np.uint8)
    if len(plain) == starts[-1]:
        return Characters(plain.astype(np.uint32), starts)
    codes = np.frombuffer(bytes(text).decode().encode(_UTF32), np.uint32)
    return Characters(np.minimum(codes, np.uint32(PLANES - 1)), starts)


_UTF32 = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"


def table(of: Callable[[str], int], dtype: Any) -> np.ndarray[Any, Any]:
    """Return `of(character)` for every code point below `PLANES`."""
    return np.fromiter(map(of, map(chr, range(PLANES))), dtype, PLANES)


@cache
def categories() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the first letter of each code point's general category, as its ASCII code."""
    return table(lambda char: ord(unicodedata.category(char)[0]), np.uint8)


@cache
def lower() -> Codes:
    """Return each code point in lower case, where that is one code point."""
    return table(lambda char: ord(char.lower()[0]), np.uint32)


def in_scripts(scripts: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which code points belong to one of the Unicode scripts, as RE2 knows them.

    Raises:
        pyarrow.ArrowInvalid: RE2 does not know a script.
    """
    found = np.zeros(PLANES, bool)
    sound = [code for code in range(PLANES) if not 0xD800 <= code < 0xE000]
    every = pa.array(map(chr, sound), pa.string())
    classes = "".join(rf"\p{{{script}}}" for script in scripts)
    found[sound] = pc.match_substring_regex(every, f"[{classes}]").to_numpy(zero_copy_only=False)
    return found
