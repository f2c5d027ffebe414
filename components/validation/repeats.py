"""Rows that share a text, or nearly do, among the rows that are sound by themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.validation.faults import Faults
from components.validation.rows import Rows


def find_repeats(rows: Rows, among: Any) -> dict[str, Faults]:
    """Return the faults of equal texts: all rows of a label conflict, all but the first copy."""
    keys = rows.numbers("key", among)
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    shared = np.bincount(group)[group] > 1
    again = np.flatnonzero(shared & (first[group] != np.arange(len(among))))
    conflicts = _conflicts(rows, among[shared], group[shared])
    copies = [at for at in again.tolist() if group[at] not in conflicts]
    return {
        "label_conflict": Faults.of(
            (int(among[at]), conflicts[group[at]])
            for at in np.flatnonzero(shared).tolist()
            if group[at] in conflicts
        ),
        "duplicate": Faults.of(
            (int(among[at]), rows.place(among[first[group[at]]])) for at in copies
        ),
    }


def find_near(rows: Rows, among: Any, first: Any) -> Faults:
    """Return the rows whose text nearly equals an earlier one's.

    `first[i]` is the index into `among` of the first row of row i's group.
    """
    near = np.flatnonzero(first != np.arange(len(among))).tolist()
    return Faults.of((int(among[at]), rows.place(among[first[at]])) for at in near)


def _conflicts(rows: Rows, among: Any, group: Any) -> dict[int, str]:
    """Return the labels of every group that has more than one."""
    labels: dict[int, set[str]] = {}
    targets = rows.numbers("target", among)
    for number, target, answer in zip(
        group.tolist(), targets.tolist(), rows.strings("answer", among).to_pylist(), strict=True
    ):
        if target >= 0:
            labels.setdefault(number, set()).add(answer)
    return {number: joined(names) for number, names in labels.items() if len(names) > 1}


def joined(names: Sequence[str] | set[str]) -> str:
    """Return names in order, as one text."""
    return ", ".join(sorted(names))
