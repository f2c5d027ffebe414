"""Which reader reads which file."""

from collections.abc import Callable, Iterator
from pathlib import Path

from components.contracts.errors import SourceError, choose
from components.sources import delimited, jsonl, parquet
from components.sources.origin import Row
from components.sources.settings import ReadSettings

READERS: dict[str, Callable[[Path, ReadSettings], Iterator[Row]]] = {
    "csv": delimited.read_csv,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "tsv": delimited.read_tsv,
}


def read_rows(file: Path, settings: ReadSettings) -> Iterator[Row]:
    """Read `file` by `settings.format`, else by its ending."""
    name = settings.format or file.suffix.removeprefix(".").lower()
    return choose(f"the format of {file.name}:", name, READERS, SourceError)(file, settings)
