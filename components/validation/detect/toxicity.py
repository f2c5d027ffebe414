"""How much of a text is insult."""

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from components.validation.detect.characters import parts
from components.validation.detect.columns import Texts, column
from components.validation.detect.hashing import sums
from components.validation.detect.words import word_ids, words

LIST = Path(__file__).parent / "insults.base64"
"""One English word a line, encoded so that nobody reads them who only wants the code."""


def toxic_share(
    texts: Texts, listed: Sequence[str] | None = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the share of each text's words that are on a list; 0 without words.

    The default list has slurs and insults that are nothing else, in English. A word counts in any
    case, but not in another spelling, and what is said without such words is not found.
    """
    array = column(texts)
    known = np.unique(word_ids(list(insults() if listed is None else listed)))
    shares = np.zeros(len(array))
    for start, chars in parts(array):
        found = words(chars)
        bad = sums(np.isin(found.ids, known), found.starts)
        shares[start : start + len(chars)] = bad / np.maximum(np.diff(found.starts), 1)
    return shares


@cache
def insults() -> tuple[str, ...]:
    """Return the words of the default list."""
    return tuple(base64.b64decode(line).decode() for line in LIST.read_text().split())
