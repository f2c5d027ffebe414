"""Which reader reads which file."""

from collections.abc import Callable, Iterator, Sequence

from components.contracts.errors import SourceError, did_you_mean
from components.sources import arrow, delimited, json_list, jsonl, parquet, text_file
from components.sources.origin import Row, RowFile
from components.sources.settings import FileFormat, ReadSettings
from components.sources.text_input import COMPRESSIONS, inner_name, suffix

READERS: dict[FileFormat, Callable[[RowFile, ReadSettings], Iterator[Row]]] = {
    "arrow": arrow.read,
    "csv": delimited.read_csv,
    "json": json_list.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "text": text_file.read,
    "tsv": delimited.read_tsv,
}

ENDINGS: dict[str, FileFormat] = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".feather": "arrow",
    ".json": "json",
    ".jsonl": "jsonl",
    ".md": "text",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tsv": "tsv",
    ".txt": "text",
}


def read_rows(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Read `file` by `settings.format`, else by its ending."""
    return READERS[format_of(file.name, settings)](file, settings)


def format_of(name: str, settings: ReadSettings) -> FileFormat:
    """Return the format of a file; raise `SourceError` listing the endings that tell one."""
    if settings.format is not None:
        return settings.format
    ending = suffix(inner_name(name))
    if ending in ENDINGS:
        return ENDINGS[ending]
    raise SourceError(
        f"{name}: the ending '{ending}' tells no format of rows{did_you_mean(ending, ENDINGS)}",
        fix=f"set source.read.format to one of: {', '.join(READERS)}; endings that tell it: "
        f"{', '.join(ENDINGS)}, also followed by {' or '.join(COMPRESSIONS)}",
    )


def one_format(names: Sequence[str], settings: ReadSettings, where: str) -> None:
    """Raise `SourceError` if the files of one source are of several formats."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(format_of(name, settings), name)
    if len(found) > 1:
        shown = ", ".join(f"{form} ({name})" for form, name in sorted(found.items()))
        raise SourceError(
            f"{where} holds files of several formats: {shown}",
            fix="name the ones that are rows with a pattern, such as "
            f"{where.rstrip('/')}/*.jsonl, or set source.read.format",
        )
