"""Rows to train on that an evaluation must not have seen: past test rows, evaluation sets."""

from typing import Any

import numpy as np

from components.validation.accepted import Accepted
from components.validation.detect.contamination import ngram_matches
from components.validation.evaluation_sets import EvaluationTexts
from components.validation.faults import Faults
from components.validation.identity import duplicate_key, fingerprint
from components.validation.rows import Rows
from components.validation.settings import ValidationSettings
from components.validation.similar import Similar


def find_holdout(
    rows: Rows, training: Any, similar: Similar, accepted: Accepted, kind: str
) -> Faults:
    """Return the rows `training` that are, or nearly are, test rows of earlier runs.

    A near copy that was accepted for training before is none: accepting data never takes rows out
    of that same data. `kind` is the recipe's `duplicate_key`.
    """
    past = accepted.holdout
    if not past.num_rows:
        return Faults.none()
    hits = _equal(rows.numbers("key", training), past[f"{kind}_key"].to_numpy())
    near = similar.match_texts(training, past["text"])
    new = np.flatnonzero((hits < 0) & (near >= 0))
    new = new[~_trained(rows.strings("text", training[new]), accepted)]
    hits[new] = near[new]
    return Faults.of(
        (int(training[at]), f"test row of an earlier run: {past['place'][hits[at]].as_py()}")
        for at in np.flatnonzero(hits >= 0).tolist()
    )


def find_contamination(
    rows: Rows, training: Any, similar: Similar, sets: EvaluationTexts, settings: ValidationSettings
) -> Faults:
    """Return the rows `training` that stand in an evaluation set: whole, nearly or in part.

    In part means `contamination_words` words in a row.
    """
    if not sets.texts:
        return Faults.none()
    keys = [fingerprint(duplicate_key(text, settings.duplicate_key)) for text in sets.texts]
    ways = {
        "is": _equal(rows.numbers("key", training), np.array(keys, dtype=np.uint64)),
        "nearly is": similar.match_texts(training, sets.texts),
        "shares words with": ngram_matches(
            rows.strings("text", training), sets.texts, settings.contamination_words
        ),
    }
    found: dict[int, str] = {}
    for how, hits in ways.items():
        for at in np.flatnonzero(hits >= 0).tolist():
            found.setdefault(at, f"{how} {sets.places[hits[at]]}")
    return Faults.of((int(training[at]), value) for at, value in sorted(found.items()))


def _equal(keys: Any, others: Any) -> Any:
    """Return for every key the index of the first of `others` that equals it, or -1."""
    known, first = np.unique(others, return_index=True)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, first[at], -1)


def _trained(texts: Any, accepted: Accepted) -> Any:
    keys = [fingerprint(duplicate_key(text, "text")) for text in texts.to_pylist()]
    return np.isin(np.array(keys, dtype=np.uint64), accepted.trained["text_key"].to_numpy())
