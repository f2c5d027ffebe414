"""JSON Lines: one JSON object a line. Blank lines are skipped."""

from collections.abc import Iterator
from typing import Any

from components.sources.json_values import DECODER, need_object, not_json
from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings
from components.sources.text_input import text_lines


def read(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield line number and object; raise `DataError` for a line that is not a JSON object."""
    del settings  # names of columns stand in every object
    for number, line in enumerate(text_lines(file), start=1):
        if line.strip():
            yield number, _object(line, f"{file.name}:{number}")


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        value = DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise not_json(place, error, line) from error
    return need_object(value, place)
