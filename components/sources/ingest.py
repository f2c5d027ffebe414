"""The ingest step: rows as they are, one JSON object a line, each with its place in the source."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, did_you_mean
from components.contracts.events import Context
from components.contracts.kinds import Raw
from components.sources import hub, local, package, url
from components.sources.origin import Origin, PlacedRow
from components.sources.settings import SourceSettings

KINDS: dict[str, Callable[[Any, Context], AbstractContextManager[Origin]]] = {
    "file": local.open_rows,
    "hub": hub.open_rows,
    "package": package.open_rows,
    "url": url.open_rows,
}

HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def ingest(settings: SourceSettings, *, out: Path, context: Context) -> Raw:
    """Write `rows.jsonl`: {"source": name, "row": 1-based number, "fields": {…}} a line.

    Rows go through one at a time, so memory does not grow with the source. Raises `SourceError`
    when the source cannot be brought here, `DataError` (with file and line) when it cannot be read
    or has no rows.
    """
    with KINDS[settings.kind](settings, context) as origin, Raw.write(out) as draft:
        rows, columns = _write(renamed(origin.rows, settings.rename), draft.folder / "rows.jsonl")
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


def renamed(rows: Iterator[PlacedRow], names: Mapping[str, str]) -> Iterator[PlacedRow]:
    """Yield rows with columns named by `names` ({theirs: ours}).

    Raises `DataError` when a new name is already taken in a row, or when no row has an old one.
    """
    missing, seen = dict.fromkeys(names), dict[str, None]()
    for source, number, fields in rows:
        taken = [ours for theirs, ours in names.items() if theirs in fields and ours in fields]
        clash = [name for name in taken if name not in names]
        if clash:
            raise DataError(
                f"{source}:{number}: source.rename would make a second column '{clash[0]}'",
                fix=f"rename that one too, or choose another name than '{clash[0]}'",
            )
        if missing:
            seen.update(dict.fromkeys(fields))
            missing = {name: None for name in missing if name not in fields}
        yield source, number, {names.get(name, name): value for name, value in fields.items()}
    if missing and seen:
        name = next(iter(missing))
        raise DataError(
            f"source.rename: no row has a column '{name}'{did_you_mean(name, seen)}",
            fix=f"columns there: {', '.join(seen)}",
        )


def _write(rows: Iterator[PlacedRow], file: Path) -> tuple[int, list[str]]:
    columns: dict[str, None] = {}
    count = 0
    with file.open("wb") as stream:
        for source, number, fields in rows:
            stream.write(_line(source, number, fields))
            columns.update(dict.fromkeys(fields))
            count += 1
    return count, list(columns)


def _line(source: str, number: int, fields: dict[str, Any]) -> bytes:
    line = {"source": source, "row": number, "fields": fields}
    try:
        text = json.dumps(line, ensure_ascii=False, default=_plain) + "\n"
    except TypeError as error:
        names = [name for name, value in fields.items() if not _writes(value)]
        raise DataError(
            f"{source}:{number}: column '{names[0] if names else '?'}' holds {error}",
            fix="leave that column out of the source",
        ) from error
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # Half of an escaped pair (\ud83d alone) is no character: what any decoder puts in its
        # place is U+FFFD, which the encoding expectation finds and names with its row.
        return HALF_CHARACTER.sub("\ufffd", text).encode("utf-8")


def _writes(value: Any) -> bool:
    try:
        json.dumps(value, default=_plain)
    except TypeError:
        return False
    return True


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"values of type {type(value).__name__}, which are not text or numbers")
