"""Words as 64-bit hashes: letters, digits and marks of one row, in lower case.

In scripts that write no spaces (Chinese, Japanese, Thai …) every character is a word.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from components.validation.detect.characters import (
    Characters,
    Codes,
    Hashes,
    Places,
    categories,
    characters,
    in_scripts,
    lower,
)
from components.validation.detect.columns import Texts, column
from components.validation.detect.hashing import spans

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")


@dataclass(frozen=True)
class Words:
    """Words of rows, end to end: those of row r are `ids[starts[r]:starts[r + 1]]`.

    Word w is `codes[begins[w]:ends[w]]`.
    """

    ids: Hashes
    starts: Places
    codes: Codes
    begins: Places
    ends: Places

    def spelled(self, word: int) -> str:
        """Return a word as it was hashed."""
        return "".join(map(chr, self.codes[self.begins[word] : self.ends[word]].tolist()))


def words(chars: Characters) -> Words:
    """Return the words of the rows."""
    kinds = _kinds()[chars.codes]
    before = np.concatenate([np.zeros(1, np.uint8), kinds[:-1]]) if len(kinds) else kinds
    before[chars.starts[:-1][np.diff(chars.starts) > 0]] = 0
    begin = (kinds > 0) & ((before == 0) | (kinds == 2) | (before == 2))
    begins = np.flatnonzero(begin)
    # A word ends where the next one begins or where there is no letter, whichever comes first.
    stop = np.concatenate([begin | (kinds == 0), [True]])
    stops = np.flatnonzero(stop)
    ends = stops[np.searchsorted(stops, begins, side="right")]
    codes = lower()[chars.codes]
    ids = spans(codes.astype(np.uint64), begins, ends)
    return Words(ids, np.searchsorted(begins, chars.starts), codes, begins, ends)


def word_ids(texts: Texts) -> Hashes:
    """Return the ids of all words of some texts."""
    return words(characters(column(texts))).ids


@cache
def _kinds() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return 0 for what is no part of a word, 2 for a word of one character, 1 for the rest."""
    letters = np.isin(categories(), np.frombuffer(b"LMN", np.uint8))
    return letters.astype(np.uint8) + (letters & in_scripts(UNSPACED))
