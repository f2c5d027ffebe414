"""Several files as one source of rows: their order, their names and their common digest."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from components.contracts.artefacts import sha256
from components.sources.origin import PlacedRow, RowFile, placed
from components.sources.readers import one_format, read_rows
from components.sources.settings import ReadSettings

NOTE = ".dvc"
"""The ending of DVC's notes about the files beside them."""


def read_all(files: Sequence[RowFile], settings: ReadSettings, where: str) -> Iterator[PlacedRow]:
    """Yield the rows of all files in order; raise `SourceError` if they are of several formats."""
    one_format([file.name for file in files], settings, where)
    return (row for file in files for row in placed(file.name, read_rows(file, settings)))


def identity(files: Sequence[RowFile]) -> dict[str, Any]:
    """Return the facts that say which bytes these are.

    `sha256` is that of one file, or that of the lines that `sha256sum` prints for several.
    """
    if len(files) == 1:
        return {"sha256": sha256(files[0].path)}
    lines = [f"{sha256(file.path)}  {file.name}\n" for file in files]
    return {"files": len(files), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


def is_pattern(path: str) -> bool:
    """Say whether a path names files by a pattern."""
    return any(mark in path for mark in "*?[")


def fixed_part(pattern: str) -> str:
    """Return the folders of a pattern before the first that holds a mark."""
    parts = pattern.split("/")
    return "/".join(parts[: next(n for n, part in enumerate(parts) if is_pattern(part))])


def is_row_file(name: str) -> bool:
    """Say whether a file may hold rows: it is neither hidden nor a note of DVC's."""
    return not name.endswith(NOTE) and not any(p[0] == "." for p in PurePosixPath(name).parts)
