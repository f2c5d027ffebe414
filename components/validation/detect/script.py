"""In which script a text is written."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from components.contracts.errors import RecipeError, did_you_mean
from components.validation.detect.characters import categories, in_scripts, parts
from components.validation.detect.columns import Texts, column
from components.validation.detect.hashing import sums

COMMON = (
    "Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati "
    "Gurmukhi Han Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Myanmar "
    "Sinhala Tamil Telugu Thai Tibetan"
)
"""Scripts that are suggested; every name of Unicode's property `Script` is allowed."""


def script_share(texts: Texts, scripts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the share of each text's letters that belong to the scripts; 1 without letters.

    Raises:
        RecipeError: Unicode has no script of that name.
    """
    array = column(texts)
    wanted = _letters_of(tuple(scripts))
    shares = np.ones(len(array))
    for start, chars in parts(array):
        kinds = wanted[chars.codes]
        letters = sums(kinds > 0, chars.starts)
        right = sums(kinds > 1, chars.starts)
        shares[start : start + len(chars)] = np.where(letters, right / np.maximum(letters, 1), 1)
    return shares


@cache
def _letters_of(scripts: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return 2 for letters of the scripts, 1 for other letters, 0 for the rest."""
    letters = categories() == ord("L")
    try:
        right = in_scripts(scripts)
    except pa.ArrowInvalid:
        unknown = next(name for name in scripts if not _known(name))
        raise RecipeError(
            f"Unicode has no script '{unknown}'{did_you_mean(unknown, COMMON.split())}",
            fix=f"use names such as {', '.join(COMMON.split()[::5])}",
        ) from None
    return np.where(letters, np.where(right, 2, 1), 0).astype(np.uint8)


def _known(script: str) -> bool:
    try:
        in_scripts((script,))
    except pa.ArrowInvalid:
        return False
    return True
