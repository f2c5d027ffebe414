"""Faults, sparse: which rows an expectation is not met by, and what was found in each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class Faults:
    """`index` are row numbers (from 0, rising, int64) and `values` what was found in these rows."""

    index: Any
    values: tuple[str, ...]

    @classmethod
    def none(cls) -> Self:
        return cls(np.zeros(0, dtype=np.int64), ())

    @classmethod
    def where(cls, found: Sequence[str | None]) -> Self:
        """Take one value a row, `None` where the row is sound."""
        pairs = [(at, value) for at, value in enumerate(found) if value is not None]
        return cls.of(pairs)

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, str]]) -> Self:
        """Take (row, value) pairs whose rows rise."""
        taken = list(pairs)
        index = np.fromiter((at for at, _ in taken), dtype=np.int64, count=len(taken))
        return cls(index, tuple(value for _, value in taken))

    @classmethod
    def joined(cls, parts: Sequence[tuple[int, "Faults"]]) -> Self:
        """Put parts end to end; each comes with the number of rows before it."""
        if not parts:
            return cls.none()
        index = np.concatenate([part.index + before for before, part in parts])
        return cls(index, tuple(value for _, part in parts for value in part.values))

    def among(self, rows: Any) -> Self:
        """Turn indices into `rows` (rising row numbers) into these row numbers."""
        return type(self)(rows[self.index], self.values)

    def __len__(self) -> int:
        return len(self.values)
