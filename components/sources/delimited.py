"""CSV (RFC 4180, quotes allowed) and TSV (a plain tab between columns, no quoting)."""

import csv
from collections.abc import Iterator, Sequence

from components.contracts.errors import DataError
from components.sources.columns import need_distinct
from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings
from components.sources.text_input import LONGEST, text_lines

OTHERS = (";", "\t", "|")
"""Delimiters that a file called CSV often has instead of a comma."""


def read_csv(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield the line a row starts on and its fields as strings."""
    return _named(_csv_cells(file, settings.delimiter), file, settings)


def read_tsv(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield line number and fields as strings; quotation marks are ordinary text."""
    lines = enumerate(text_lines(file), start=1)
    cells = ((number, line.rstrip("\r\n").split("\t")) for number, line in lines if line.strip())
    return _named(cells, file, settings)


def _csv_cells(file: RowFile, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # The module's own limit of 128 KB a cell is too small for documents; ours still ends a quote
    # that is never closed before it fills the memory.
    csv.field_size_limit(LONGEST)
    reader = csv.reader(text_lines(file), strict=True, delimiter=delimiter)
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
    rows: Iterator[tuple[int, list[str]]], file: RowFile, settings: ReadSettings
) -> Iterator[Row]:
    columns: Sequence[str] | None = settings.columns
    for number, cells in rows:
        if columns is None:
            columns = _header(cells, f"{file.name}:{number}")
            continue
        if len(cells) != len(columns):
            raise DataError(
                f"{file.name}:{number}: {len(cells)} columns where {len(columns)} are needed "
                f"({', '.join(columns)})",
                fix="mend this row, or set the columns of a file without a header in "
                "source.read.columns",
            )
        yield number, dict(zip(columns, cells, strict=True))


def _header(cells: list[str], place: str) -> list[str]:
    other = next((mark for mark in OTHERS if len(cells) == 1 and mark in cells[0]), None)
    if other is not None:
        raise DataError(
            f"{place}: the header is one column, {cells[0]!r}, with {other!r} in it",
            fix=f"set source.read.delimiter: {other!r}".replace("'", '"'),
        )
    need_distinct(
        cells, place, "give each column its own name, or name them all in source.read.columns"
    )
    return cells
