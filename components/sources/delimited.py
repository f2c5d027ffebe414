"""CSV (RFC 4180, quotes allowed) and TSV (a plain tab between columns, no quoting)."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.contracts.errors import DataError
from components.sources.origin import Row
from components.sources.settings import ReadSettings
from components.sources.text_lines import text_lines


def read_csv(file: Path, settings: ReadSettings) -> Iterator[Row]:
    """Yield the line a row starts on and its fields as strings."""
    return _named(_csv_cells(file), file, settings)


def read_tsv(file: Path, settings: ReadSettings) -> Iterator[Row]:
    """Yield line number and fields as strings; quotation marks are ordinary text."""
    lines = enumerate(text_lines(file), start=1)
    cells = ((number, line.rstrip("\r\n").split("\t")) for number, line in lines if line.strip())
    return _named(cells, file, settings)


def _csv_cells(file: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text_lines(file), strict=True)
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file.name}:{start}: not CSV ({error})",
            fix="close the quotation marks of this row, or double those inside a quoted cell",
        ) from error


def _named(
    rows: Iterator[tuple[int, list[str]]], file: Path, settings: ReadSettings
) -> Iterator[Row]:
    columns: Sequence[str] | None = settings.columns
    for number, cells in rows:
        if columns is None:
            columns = _header(cells, file)
            continue
        if len(cells) != len(columns):
            raise DataError(
                f"{file.name}:{number}: {len(cells)} columns where {len(columns)} are needed "
                f"({', '.join(columns)})",
                fix="mend this row, or set the columns of a file without a header in "
                "source.read.columns",
            )
        yield number, dict(zip(columns, cells, strict=True))


def _header(cells: list[str], file: Path) -> list[str]:
    twice = sorted({name for name in cells if cells.count(name) > 1})
    if twice or not all(cells):
        fault = f"column '{twice[0]}' appears twice" if twice else "a column has no name"
        raise DataError(
            f"{file.name}:1: {fault} in the header",
            fix="give each column its own name, or name them all in source.read.columns",
        )
    return cells
