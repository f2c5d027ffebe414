"""The ingest step: rows as they are, one JSON object a line, each with its place in the source."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import Raw
from components.sources import hub, local, package
from components.sources.origin import Origin
from components.sources.settings import SourceSettings

KINDS: dict[str, Callable[[Any, Context], AbstractContextManager[Origin]]] = {
    "file": local.open_rows,
    "hub": hub.open_rows,
    "package": package.open_rows,
}


def ingest(settings: SourceSettings, *, out: Path, context: Context) -> Raw:
    """Write `rows.jsonl`: {"source": name, "row": 1-based number, "fields": {…}} a line.

    Raises `SourceError` when the source cannot be brought here, `DataError` (with file and line)
    when it cannot be read or has no rows.
    """
    with KINDS[settings.kind](settings, context) as origin, Raw.write(out) as draft:
        rows, columns = _write(origin, draft.folder / "rows.jsonl")
        if not rows:
            raise DataError(
                f"{origin.name} has no rows", fix="check the file that the recipe's source names"
            )
        draft.facts = {
            "rows": rows,
            "columns": columns,
            "name": origin.facts["name"],
            "license": origin.license,
            "source": {"file": origin.name, **origin.facts},
        }
        context.events.note(f"{rows:,} rows from {origin.name}")
    return Raw.open(out)


def _write(origin: Origin, file: Path) -> tuple[int, list[str]]:
    columns: dict[str, None] = {}
    rows = 0
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for number, fields in origin.rows:
            line = {"source": origin.name, "row": number, "fields": fields}
            stream.write(json.dumps(line, ensure_ascii=False, default=_plain) + "\n")
            columns.update(dict.fromkeys(fields))
            rows += 1
    return rows, list(columns)


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise DataError(
        f"a column holds values of type {type(value).__name__}, which are not text or numbers",
        fix="leave that column out of the source",
    )
