"""JSON Lines: one JSON object a line. Blank lines are skipped."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from components.contracts.errors import DataError
from components.sources.origin import Row
from components.sources.settings import ReadSettings
from components.sources.text_lines import text_lines


def read(file: Path, settings: ReadSettings) -> Iterator[Row]:
    """Yield line number and object; raise `DataError` for a line that is not a JSON object."""
    del settings  # names of columns stand in every object
    for number, line in enumerate(text_lines(file), start=1):
        if line.strip():
            yield number, _object(line, f"{file.name}:{number}")


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse)
    except ValueError as error:
        raise DataError(
            f"{place}: not JSON ({error}): {line.strip()[:80]!r}",
            fix="each line must be one whole JSON object; mend or delete this line",
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{place}: a JSON {type(value).__name__} where an object is needed",
            fix='write each row as {"column": value, …} on a line of its own',
        )
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not in the JSON standard")
