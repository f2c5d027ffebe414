"""The output of a batch prediction: the input's rows, in order, with the new columns."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, choose

Rows = Iterator[list[dict[str, Any]]]
"""Rows, a chunk at a time."""


def kind_of(file: Path) -> str:
    """Return the format of an output by its ending; raise `DataError` naming those there are."""
    return choose("the ending", file.suffix.lower(), {end: end for end in WRITERS}, DataError)


def write_rows(file: Path, rows: Callable[[], Rows], schema: Any = None) -> None:
    """Write all rows to `file`, which is whole or not there.

    `rows` begins anew at each call. `schema` is the Arrow schema of the input's columns where the
    input has one: Parquet keeps their types.
    """
    half = file.with_name(f".{file.name}.tmp")
    try:
        WRITERS[kind_of(file)](half, rows, schema)
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def _jsonl(file: Path, rows: Callable[[], Rows], schema: Any) -> None:
    del schema
    with file.open("w", encoding="utf-8") as stream:
        for chunk in rows():
            for row in chunk:
                stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _csv(file: Path, rows: Callable[[], Rows], schema: Any) -> None:
    """Nested values become columns `outer.inner`, lists become JSON."""
    del schema
    columns: dict[str, None] = {}
    for chunk in rows():
        for row in chunk:
            columns |= dict.fromkeys(_flat(row))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        for chunk in rows():
            writer.writerows(map(_flat, chunk))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": one for inner, one in value.items()}
        elif isinstance(value, list):
            flat[key] = json.dumps(value, ensure_ascii=False, default=str)
        else:
            flat[key] = value
    return flat


def _parquet(file: Path, rows: Callable[[], Rows], schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = [pa.Table.from_pylist(chunk).schema for chunk in rows()]
    whole = pa.unify_schemas(found, promote_options="permissive")
    if schema is not None:  # what the input says of its own columns goes before what we see
        whole = pa.schema([_field(schema, field) for field in whole])
    with pq.ParquetWriter(file, whole) as writer:
        for chunk in rows():
            writer.write_table(pa.Table.from_pylist(chunk, schema=whole))


def _field(schema: Any, field: Any) -> Any:
    at = schema.get_field_index(field.name)
    return field if at < 0 else schema.field(at)


WRITERS: dict[str, Callable[[Path, Callable[[], Rows], Any], None]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def need_free(columns: Sequence[str], new: Sequence[str], prefix: str) -> None:
    """Raise `DataError` where a new column would overwrite one of the input's."""
    taken = sorted(set(columns) & {f"{prefix}{name}" for name in new})
    if taken:
        raise DataError(
            f"the input has a column '{taken[0]}' already",
            fix="give the new columns a beginning of their own: --prefix NAME_",
        )


def write_errors(file: Path, faults: Sequence[Mapping[str, Any]]) -> None:
    """Write a line for each fault; without any there is no file."""
    if not faults:
        file.unlink(missing_ok=True)
        return
    text = "".join(json.dumps(dict(fault), ensure_ascii=False) + "\n" for fault in faults)
    file.write_text(text, encoding="utf-8")
