"""How far new data is from old: lengths, labels, words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from components.validation.detect.characters import parts
from components.validation.detect.columns import Texts, column
from components.validation.detect.words import words

EDGES = (0, 1, *(round(2 ** (n / 2)) for n in range(2, 41)))
"""Bounds of the length histogram in characters: 0, 1, then two a doubling up to a million."""

TOP = 2000
"""How many words of the vocabulary are kept with their counts."""

FLOOR = 1e-4
"""The least share that an empty bin is given."""


def profile(texts: Texts, labels: Sequence[str | None], *, top: int = TOP) -> dict[str, Any]:
    """Return what later data is compared with (JSON values).

    `lengths` counts texts by `EDGES` (the last bin is open), `vocabulary` the `top` most frequent
    words, first by count and then by the alphabet.
    """
    array = column(texts)
    lengths = pc.utf8_length(array).to_numpy()
    bins = np.searchsorted(EDGES, lengths, side="right") - 1
    counts, total = _vocabulary(array, top)
    named = Counter(label for label in labels if label is not None)
    return {
        "rows": len(array),
        "characters": int(lengths.sum()),
        "words": total,
        "lengths": np.bincount(bins, minlength=len(EDGES)).tolist(),
        "labels": dict(sorted(named.items())),
        "vocabulary": counts,
    }


def psi(expected: Sequence[float], actual: Sequence[float], *, floor: float = FLOOR) -> float:
    """Return the population stability index of two histograms with the same bins.

    Σ (a - e) · ln(a / e) over the shares e and a (Siddiqi 2006, "Credit Risk Scorecards"); below
    0.1 is read as no change, above 0.25 as a large one. A share below `floor` counts as `floor`, so
    that an empty bin does not make the sum infinite.
    """
    old, new = (np.maximum(_shares(counts), floor) for counts in (expected, actual))
    return float(np.sum((new - old) * np.log(new / old)))


def ks(expected: Sequence[float], actual: Sequence[float]) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov statistic of two histograms, and its p-value.

    The statistic is the largest difference of the cumulative shares at the bins' edges, so it is at
    most that of the values themselves and p (asymptotic) is at least theirs: binning may hide a
    change inside a bin, it never makes one up.
    """
    from scipy.special import kolmogorov

    sizes = float(np.sum(expected)), float(np.sum(actual))
    if not all(sizes):
        return 0.0, 1.0
    gaps = np.cumsum(_shares(expected)) - np.cumsum(_shares(actual))
    statistic = float(np.abs(gaps).max())
    return statistic, float(kolmogorov(statistic * np.sqrt(sizes[0] * sizes[1] / sum(sizes))))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of drift from one profile to another.

    `psi_vocabulary` compares the words that are in either list, and all others together as one.
    `new_words` is the share of the new list's words (by count) that the old list does not have.
    """
    statistic, p = ks(old["lengths"], new["lengths"])
    seen = sum(count for word, count in new["vocabulary"].items() if word in old["vocabulary"])
    listed = sum(new["vocabulary"].values())
    return {
        "psi_length": psi(old["lengths"], new["lengths"]),
        "psi_label": psi(*_aligned(old["labels"], new["labels"])),
        "psi_vocabulary": psi(*_words(old, new), floor=1e-6),
        "new_words": 1 - seen / listed if listed else 0.0,
        "ks_length": statistic,
        "ks_length_p": p,
    }


def _vocabulary(array: Any, top: int) -> tuple[dict[str, int], int]:
    """Return the most frequent words with their counts, and the number of all words."""
    ids, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    spelled: dict[int, str] = {}
    for _, chars in parts(array):
        found = words(chars)
        new, first, times = np.unique(found.ids, return_index=True, return_counts=True)
        ids, counts = _added(ids, counts, new, times)
        spelled |= {
            int(new[i]): found.spelled(first[i])
            for i in np.flatnonzero(~np.isin(new, np.fromiter(spelled, np.uint64, len(spelled))))
        }
    ranked = sorted(zip(counts.tolist(), ids.tolist(), strict=True), key=lambda pair: -pair[0])
    # Equal counts are ordered by the word: a cut among them must not depend on the hash.
    least = ranked[min(top, len(ranked)) - 1][0] if ranked else 0
    best = sorted((-count, spelled[word]) for count, word in ranked if count >= least)[:top]
    return {word: -count for count, word in best}, int(counts.sum())


def _added(
    ids: Any, counts: Any, new: Any, times: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    both, place = np.unique(np.concatenate([ids, new]), return_inverse=True)
    total = np.bincount(place, np.concatenate([counts, times]), len(both))
    return both, total.astype(np.int64)


def _shares(counts: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.asarray(counts, float)
    shares: np.ndarray[Any, np.dtype[np.float64]] = values / max(values.sum(), 1)
    return shares


def _aligned(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[list[int], list[int]]:
    names = sorted(old.keys() | new.keys())
    return [old.get(name, 0) for name in names], [new.get(name, 0) for name in names]


def _words(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    before, after = _aligned(old["vocabulary"], new["vocabulary"])
    return [*before, old["words"] - sum(before)], [*after, new["words"] - sum(after)]
