"""Rows on their way through validation: read, cleaned and made into examples."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.contracts.kinds import Raw
from components.formats.example import Example, RowError
from components.formats.read import read, used_columns
from components.formats.settings import FormatSettings
from components.validation.clean import clean, has_entities
from components.validation.settings import ValidationSettings


@dataclass(frozen=True)
class Row:
    """One row: its place, its needed fields before and after cleaning, and what it became.

    Exactly one of `example` and `fault` is there.
    """

    source: str
    row: int
    before: dict[str, Any]
    after: dict[str, Any]
    entities: bool
    example: Example | None
    fault: RowError | None

    @property
    def place(self) -> str:
        return f"{self.source}:{self.row}"


def read_rows(
    raw: Raw, format_settings: FormatSettings, settings: ValidationSettings
) -> Iterator[Row]:
    """Yield every row of `raw`, in order."""
    used = used_columns(format_settings)
    with raw.rows.open(encoding="utf-8") as stream:
        for line in stream:
            entry = json.loads(line)
            before = {name: entry["fields"].get(name) for name in used}
            after = clean(before, settings)
            example, fault = _read(after, format_settings)
            yield Row(
                source=entry["source"],
                row=entry["row"],
                before=before,
                after=after,
                entities=has_entities(before),
                example=example,
                fault=fault,
            )


def _read(
    fields: dict[str, Any], settings: FormatSettings
) -> tuple[Example | None, RowError | None]:
    try:
        return read(fields, settings), None
    except RowError as error:
        return None, error
