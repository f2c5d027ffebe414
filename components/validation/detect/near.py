"""Near-duplicates: texts that are copies of each other but for a few characters or words."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from components.validation.detect.characters import Places
from components.validation.detect.columns import Texts, column
from components.validation.detect.hashing import firsts
from components.validation.detect.minhash import NGRAM, NUM_PERM, Signatures
from components.validation.detect.pairs import (
    Prepared,
    banded,
    pairs_between,
    pairs_within,
    prepared,
    split,
)
from components.validation.detect.similarity import (
    THRESHOLD,
    alike,
    estimated,
    expected_jaccard,
    needed,
)

SEED = 0
CAUTION = 0.25
"""How much nearer to equal two texts must be when only a signature of one is left."""


def signatures(
    texts: Texts, *, num_perm: int = NUM_PERM, ngram: int = NGRAM, seed: int = SEED
) -> Signatures:
    """Return the MinHash signatures of texts, `[n, num_perm]`, to keep instead of the texts.

    Signatures can be compared only if they were made with the same arguments.
    """
    return prepared(column(texts), num_perm, ngram, seed, bands=0).signatures


def prepare(texts: Texts, *, seed: int = SEED) -> Prepared:
    """Return texts ready for several searches; about 1 KB a row, two thirds of a search's time."""
    return prepared(column(texts), NUM_PERM, NGRAM, seed)


def near_duplicates(
    texts: Texts | Prepared, threshold: float = THRESHOLD, *, seed: int = SEED
) -> Places:
    """Return for each text the index of the first one it nearly equals, or its own.

    `similarity.alike` says what that is. Texts that are joined by a chain of such pairs make one
    group, and its first one is named. Deterministic; rows in another order make the same groups,
    but for buckets of more than `pairs.NEIGHBOURS` texts that are alike only in part.
    """
    rows = texts if isinstance(texts, Prepared) else prepare(texts, seed=seed)
    first, group = firsts(rows.ids)
    pairs = pairs_within(rows, first)
    array, signed = rows.texts, rows.signatures
    del rows  # its keys are as large as the signatures
    left, right = split(pairs[estimated(signed, signed, pairs) >= _least(threshold)])
    del signed, pairs
    near = alike(array, array, left, right, threshold) > 0
    return _grouped(len(array), first[group], left[near], right[near])


def near_matches(
    texts: Texts | Prepared,
    others: Texts | Prepared | Signatures,
    threshold: float = THRESHOLD,
    *,
    seed: int = SEED,
) -> Places:
    """Return for each text the index of the other that it is most like, or -1.

    `others` may be signatures made by `signatures` with its defaults and this seed. Then no exact
    look is possible: a pair counts when its estimated Jaccard similarity reaches that of typos
    spread over three quarters of what `threshold` allows.
    """
    rows = texts if isinstance(texts, Prepared) else prepare(texts, seed=seed)
    count = len(rows.texts)
    if isinstance(others, np.ndarray):
        pairs = pairs_between(rows, banded(others))
        score = estimated(rows.signatures, others, pairs)
        lengths = pc.utf8_length(rows.texts).to_numpy()[split(pairs)[0]]
        near = score >= expected_jaccard(needed(threshold + CAUTION * (1 - threshold), lengths))
        return _best(count, *split(pairs[near]), score[near])
    theirs = others if isinstance(others, Prepared) else prepare(others, seed=seed)
    pairs = pairs_between(rows, theirs)
    near = estimated(rows.signatures, theirs.signatures, pairs) >= _least(threshold)
    left, right = split(pairs[near])
    return _best(count, left, right, alike(rows.texts, theirs.texts, left, right, threshold))


def _least(threshold: float) -> float:
    """Return the estimate below which a pair is not worth an exact look: a deviation lower."""
    jaccard = float(expected_jaccard(np.array(threshold)))
    return jaccard - float(np.sqrt(jaccard * (1 - jaccard) / NUM_PERM))


def _grouped(count: int, same: Places, left: Places, right: Places) -> Places:
    """Return the first row of each row's group; `same` is the first row with an equal text."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([left, np.arange(count)]), np.concatenate([right, same])
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(count, count))
    groups, group = connected_components(graph, directed=False)
    first = np.full(groups, count)
    np.minimum.at(first, group, np.arange(count))
    rows: Places = first[group]
    return rows


def _best(count: int, left: Places, right: Places, score: np.ndarray[Any, Any]) -> Places:
    """Return for each row its partner of the highest score, the first of equal ones, or -1."""
    found = np.full(count, -1)
    order = np.lexsort((-right, score, left))[: len(left)]
    order = order[score[order] > 0]
    found[left[order]] = right[order]
    return found
