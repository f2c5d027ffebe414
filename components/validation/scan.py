"""Reading a stretch of `rows.jsonl`: rows are cleaned, made into examples and looked at one by one.

It depends on nothing but the bytes and the settings, so stretches may be read side by side.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.contracts.tables import dataset_schema
from components.formats.example import Example, RowError
from components.formats.read import columns, read, used_columns
from components.formats.settings import FormatSettings
from components.validation import checks
from components.validation.clean import clean, has_entities
from components.validation.faults import Faults
from components.validation.identity import as_json, duplicate_key, fingerprint, place, row_id
from components.validation.settings import ValidationSettings
from components.validation.texts import look_at

FAULT_COLUMNS = {"label": checks.LABEL, "value": checks.FORMAT, "column": checks.FORMAT}
"""Where a format's own complaint is entered; null has a column of its own."""

OF_EXAMPLE: dict[str, Callable[[Example], Any]] = {
    "text": lambda example: example.text,
    "answer": lambda example: example.answer,
    "choices": lambda example: example.choices,
    "target": lambda example: example.target,
    "rejected": lambda example: example.rejected,
    "references": lambda example: example.references,
}
"""The columns of the dataset that come straight from an example."""


@dataclass(frozen=True)
class Plan:
    """All that decides what is made of the rows of a file."""

    file: Path
    format: FormatSettings
    settings: ValidationSettings


@dataclass(frozen=True)
class Chunk:
    """A stretch of rows as a table (see `rows_schema`), and its faults by column of faults."""

    table: pa.Table
    faults: dict[str, Faults]


def rows_schema() -> pa.Schema:
    """The dataset's columns and five of our own. Without an example all of the dataset's are null.

    `offset` is where the row begins in `rows.jsonl`, `key` the fingerprint of its text, `place`
    where it lies on the line that the splits divide; `changed` says that cleaning changed it,
    `entities` that it came with HTML entities.
    """
    own = [("offset", pa.int64()), ("key", pa.uint64()), ("place", pa.uint64())]
    flags = [("changed", pa.bool_()), ("entities", pa.bool_())]
    return pa.schema([*dataset_schema(), *map(pa.field, *zip(*own + flags, strict=True))])


def scan(plan: Plan, start: int, stop: int) -> Chunk:
    """Read the bytes from `start` to `stop`, which hold whole lines."""
    with plan.file.open("rb") as stream:
        stream.seek(start)
        lines = stream.read(stop - start).split(b"\n")[:-1]
    reader = Reader(plan)
    for offset, line in zip(
        accumulate((len(line) + 1 for line in lines), initial=start), lines, strict=False
    ):
        reader.add(offset, line)
    return reader.chunk()


class Reader:
    """Turns rows into columns, one row after the other."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.needed, self.used = columns(plan.format), used_columns(plan.format)
        self.columns: dict[str, list[Any]] = {name: [] for name in rows_schema().names}
        self.faults: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def add(self, offset: int, line: bytes) -> None:
        """Take the line of one row."""
        entry = json.loads(line)
        fields = whole(entry["fields"]) if b"\\ud" in line.lower() else entry["fields"]
        settings = self.plan.settings
        before = {name: fields.get(name) for name in self.used}
        after = {name: clean(value, settings) for name, value in before.items()}
        example = self._read(after)
        into = self.columns
        into["source"].append(entry["source"])
        into["row"].append(entry["row"])
        into["offset"].append(offset)
        into["changed"].append(before != after)
        into["entities"].append(b"&" in line and has_entities(before))
        self._enter(example, fields)

    def chunk(self) -> Chunk:
        """Return what was added; the texts are looked at here, all at once."""
        schema = rows_schema()
        arrays = [pa.array(self.columns[field.name], field.type) for field in schema]
        table = pa.Table.from_arrays(arrays, schema=schema)
        faults = {column: Faults.of(found) for column, found in self.faults.items()}
        rejected = table["rejected"] if self.plan.format.kind == "preference" else None
        found = look_at(table["text"], table["answer"], rejected, self.plan.settings)
        return Chunk(table, faults | found)

    def _read(self, fields: dict[str, Any]) -> Example | None:
        at = len(self.columns["row"])
        for name in self.needed:
            if fields[name] is None:
                self.faults[checks.missing(name)].append((at, "null"))
        try:
            return read(fields, self.plan.format)
        except RowError as error:
            if error.kind in FAULT_COLUMNS:
                self.faults[FAULT_COLUMNS[error.kind]].append((at, error.problem))
            return None

    def _enter(self, example: Example | None, fields: dict[str, Any]) -> None:
        into, settings = self.columns, self.plan.settings
        if example is None:
            for name in ("id", "messages", "key", "place", *OF_EXAMPLE):
                into[name].append(None)
            return
        messages = as_json(example.messages)
        key = duplicate_key(example.text, settings.duplicate_key)
        into["id"].append(row_id(example, messages))
        into["messages"].append(messages)
        into["key"].append(fingerprint(key))
        into["place"].append(place(self._kin(fields) or key, settings.splits.seed))
        for name, value in OF_EXAMPLE.items():
            into[name].append(value(example))

    def _kin(self, fields: dict[str, Any]) -> str | None:
        """Return what the rows of a group share, if rows are grouped and this one has a group."""
        name = self.plan.settings.splits.group_by
        if name is None or fields.get(name) is None:
            return None
        return f"{name}\n{json.dumps(fields[name], ensure_ascii=False, sort_keys=True)}"


def whole(value: Any) -> Any:
    """Return `value` with U+FFFD for every half of a surrogate pair: no file can hold such text."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {whole(key): whole(part) for key, part in value.items()}
    return [whole(part) for part in value] if isinstance(value, list) else value
