"""Rows to train on whose text also stands in a split that they are tested with."""

from typing import Any

import numpy as np

from components.validation.faults import Faults
from components.validation.identity import SPLITS
from components.validation.rows import Rows
from components.validation.similar import Similar
from components.validation.splits import TEST, TRAIN


def find_leakage(rows: Rows, among: Any, splits: Any) -> Faults:
    """Return the rows whose text also stands in a split that counts more: test, then validation."""
    _, group = np.unique(rows.numbers("key", among), return_inverse=True)
    best = np.zeros(len(among), dtype=np.int8)
    np.maximum.at(best, group, splits)
    leaking = np.flatnonzero(splits < best[group])
    if not len(leaking):
        return Faults.none()
    stays = np.flatnonzero(splits == best[group])
    groups, first = np.unique(group[stays], return_index=True)
    other = stays[first[np.searchsorted(groups, group[leaking])]]
    return _faults(rows, among, splits, leaking, other)


def find_near_leakage(rows: Rows, among: Any, splits: Any, similar: Similar) -> Faults:
    """Return the rows whose text nearly stands in a split that counts more."""
    first = similar.first(among)
    best = splits.copy()
    np.maximum.at(best, first, splits)
    worst = splits.copy()
    np.minimum.at(worst, first, splits)
    parted = best[first] > worst[first]  # only in a group over several splits can there be any
    other = np.full(len(among), -1)
    for split in range(TEST, TRAIN, -1):
        others = np.flatnonzero(parted & (splits == split))
        queries = np.flatnonzero(parted & (splits < split) & (other < 0))
        hits = similar.match(among[queries], among[others])
        other[queries[hits >= 0]] = others[hits[hits >= 0]]
    leaking = np.flatnonzero(other >= 0)
    return _faults(rows, among, splits, leaking, other[leaking])


def _faults(rows: Rows, among: Any, splits: Any, leaking: Any, others: Any) -> Faults:
    return Faults.of(
        (int(among[at]), f"{SPLITS[splits[other]]}: {rows.place(among[other])}")
        for at, other in zip(leaking.tolist(), others.tolist(), strict=True)
    )
