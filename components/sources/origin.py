"""Rows that are ready to be read, and what is known about where they come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

Row = tuple[int, dict[str, Any]]
"""The 1-based line (or row, where a format has no lines) in its file, and the fields there."""

PlacedRow = tuple[str, int, dict[str, Any]]
"""A row with the name of the file it is from."""


class RowFile(NamedTuple):
    """A file of rows: `name` is what rows and errors call it, `path` where it lies."""

    name: str
    path: Path


@dataclass(frozen=True)
class Origin:
    """`name` is the source as people know it, `facts` say where it is from (JSON values).

    `rows` is read once, from the front: nothing keeps a row longer than it needs it.
    """

    name: str
    license: str
    facts: dict[str, Any]
    rows: Iterator[PlacedRow]


def placed(name: str, rows: Iterator[Row]) -> Iterator[PlacedRow]:
    """Yield `rows` with the name of their file."""
    for number, fields in rows:
        yield name, number, fields
