"""Texts that are nearly the same: prepared once, and used for every question."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from components.validation.detect.near import near_duplicates, near_matches, prepare
from components.validation.rows import Rows


class Similar:
    """Answers about the rows `among` (rising row numbers) and any of them.

    Nothing is like anything when `threshold` is `None`.
    """

    def __init__(self, rows: Rows, among: Any, threshold: float | None) -> None:
        self._rows, self._among, self._threshold = rows, among, threshold

    @cached_property
    def _prepared(self) -> Any:
        return prepare(self._rows.strings("text", self._among))

    @cached_property
    def _groups(self) -> Any:
        """For every row of `among`, the first of its group: rows that chains of likeness join."""
        if self._threshold is None:
            return np.arange(len(self._among))
        return near_duplicates(self._prepared, self._threshold)

    def first(self, rows: Any) -> Any:
        """Return for every one of `rows` the index of the first of its group among them."""
        group = self._groups[np.searchsorted(self._among, rows)]
        _, first, number = np.unique(group, return_index=True, return_inverse=True)
        return first[number]

    def match(self, queries: Any, others: Any) -> Any:
        """Return for every row of `queries` the index into `others` of one like it, or -1."""
        if self._threshold is None or not len(others) or not len(queries):
            return np.full(len(queries), -1)
        ours, theirs = (self._rows.strings("text", rows) for rows in (queries, others))
        return near_matches(ours, theirs, self._threshold)

    def match_texts(self, queries: Any, texts: Sequence[str]) -> Any:
        """Return for every row of `queries` the index of a text like its own, or -1."""
        if self._threshold is None or not len(texts) or not len(queries):
            return np.full(len(queries), -1)
        # All rows are prepared already: asking for all costs less than preparing some anew.
        hits = near_matches(self._prepared, texts, self._threshold)
        return hits[np.searchsorted(self._among, queries)]
