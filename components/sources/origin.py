"""Rows that are ready to be read, and what is known about where they come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Row = tuple[int, dict[str, Any]]
"""The 1-based line (or row, where a format has no lines) in the source, and the fields there."""


@dataclass(frozen=True)
class Origin:
    """`name` is the source as rows name it, `facts` say where it is from (JSON values)."""

    name: str
    license: str
    facts: dict[str, Any]
    rows: Iterator[Row]
