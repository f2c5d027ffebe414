"""How alike two texts are, exactly."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.validation.detect.characters import Places
from components.validation.detect.folded import folded
from components.validation.detect.minhash import NGRAM, Signatures
from components.validation.detect.pairs import Pairs, split

THRESHOLD = 0.8
SHORT = 60
"""Texts of fewer characters must be more alike: they coincide by chance."""

CHUNK = 1 << 16
"""Pairs that are looked at at once."""

Shares = np.ndarray[Any, np.dtype[np.float64]]


def alike(
    texts: pa.LargeStringArray,
    others: pa.LargeStringArray,
    left: Places,
    right: Places,
    threshold: float,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return how alike each pair of folded texts is, 0 where that is less than is needed.

    The measure is 2·LCS / (length + length), where LCS is the longest common subsequence of
    characters: 1 for equal texts, about 1 - e when a share e of the characters was replaced.
    Needed is `threshold` for texts of `SHORT` characters or more; 1 - (1 - threshold)·n / `SHORT`
    for the shorter one's n characters below that.
    """
    found = np.zeros(len(left), np.float32)
    for start in range(0, len(left), CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = _alike(texts, others, left[part], right[part], threshold)
    return found


def estimated(
    signatures: Signatures, others: Signatures, pairs: Pairs
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the estimated Jaccard similarity of each pair; signatures are `[n, num_perm]`."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK // 4):
        left, right = split(pairs[start : start + CHUNK // 4])
        found[start : start + CHUNK // 4] = (signatures[left] == others[right]).mean(1)
    return found


def needed(threshold: float, lengths: Places) -> Shares:
    """Return how alike texts of these lengths must be."""
    return 1 - (1 - threshold) * np.minimum(1, lengths / SHORT)


def expected_jaccard(threshold: Shares, ngram: int = NGRAM) -> Shares:
    """Return the Jaccard similarity of shingles after edits spread over 1 - threshold of a text.

    A shingle survives when none of its `ngram` characters was edited, with probability
    s = threshold^ngram; both texts then share s of their shingles each, so j = s / (2 - s).
    """
    survives = threshold**ngram
    shares: Shares = survives / (2 - survives)
    return shares


def _alike(
    texts: pa.LargeStringArray,
    others: pa.LargeStringArray,
    left: Places,
    right: Places,
    threshold: float,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cpdist

    ones, first = _spelled(texts, left)
    twos, second = _spelled(others, right)
    shorter = np.minimum(
        *(np.fromiter(map(len, s), int, len(s))[p] for s, p in ((ones, first), (twos, second)))
    )
    need = needed(threshold, shorter - 2)
    score = cpdist(
        [ones[i] for i in first],
        [twos[i] for i in second],
        scorer=Indel.normalized_similarity,
        score_cutoff=threshold,
        dtype=np.float32,
    )
    return np.where(score >= need, score, 0)


def _spelled(texts: pa.LargeStringArray, rows: Places) -> tuple[list[str], Places]:
    """Return the different rows as folded strings, and the place of each of `rows` among them."""
    different, place = np.unique(rows, return_inverse=True)
    found = folded(pc.take(texts, pa.array(different)))
    text = found.codes.astype("<u4").tobytes().decode("utf-32-le")
    bounds = found.starts.tolist()
    return [text[start:stop] for start, stop in pairwise(bounds)], place
