"""Texts of evaluation sets that lie in local files: nothing of them may be trained on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, choose, did_you_mean
from components.validation.settings import EvaluationSet

Fields = dict[str, Any]


@dataclass(frozen=True)
class EvaluationTexts:
    """Texts and where each stands (`file:row`)."""

    texts: list[str]
    places: list[str]


def read_sets(root: Path, sets: tuple[EvaluationSet, ...]) -> EvaluationTexts:
    """Return the texts of all `sets`; raise `DataError` for a file or column that is not there."""
    read = EvaluationTexts([], [])
    for one in sets:
        for number, fields in enumerate(_rows(root, one), start=1):
            for name in one.columns:
                read.texts.append(_text(fields, name, one.path, number))
                read.places.append(f"{one.path}:{number}")
    return read


def _rows(root: Path, one: EvaluationSet) -> Iterator[Fields]:
    file = root / one.path
    reader = choose(
        f"validation.contamination: {one.path}: the kind of file", file.suffix, READERS, DataError
    )
    try:
        yield from reader(file, one.columns)
    except (OSError, ValueError) as error:
        raise DataError(
            f"validation.contamination: {one.path} cannot be read: {error}",
            fix="name a file that is there, or take it out of the recipe",
        ) from error


def _text(fields: Fields, name: str, path: str, number: int) -> str:
    if name not in fields:
        raise DataError(
            f"validation.contamination: {path}:{number}: no column '{name}'"
            f"{did_you_mean(name, fields)} (columns: {', '.join(fields)})",
            fix="name its columns under validation.contamination.columns",
        )
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _jsonl(file: Path, columns: tuple[str, ...]) -> Iterator[Fields]:
    with file.open(encoding="utf-8") as stream:
        yield from (json.loads(line) for line in stream if line.strip())


def _lines(file: Path, columns: tuple[str, ...]) -> Iterator[Fields]:
    with file.open(encoding="utf-8") as stream:
        yield from ({columns[0]: line.rstrip("\n")} for line in stream)


def _csv(file: Path, columns: tuple[str, ...]) -> Iterator[Fields]:
    import csv

    with file.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream, delimiter="\t" if file.suffix == ".tsv" else ",")


def _parquet(file: Path, columns: tuple[str, ...]) -> Iterator[Fields]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches():
        yield from batch.to_pylist()


READERS: dict[str, Callable[[Path, tuple[str, ...]], Iterator[Fields]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".txt": _lines,
}
