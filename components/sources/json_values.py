"""JSON as the standard has it: no NaN, and no name twice in one object."""

import json
from typing import Any, NoReturn

from components.contracts.errors import DataError


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not in the JSON standard")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' stands twice in one object")
    return found


DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_unique)
"""Raises `ValueError` (`json.JSONDecodeError` where the syntax is wrong)."""


def need_object(value: Any, place: str) -> dict[str, Any]:
    """Return `value`; raise `DataError` unless it is a JSON object."""
    if isinstance(value, dict):
        return value
    hint = "; a file that is one JSON list must end in .json" if isinstance(value, list) else ""
    raise DataError(
        f"{place}: a JSON {type(value).__name__} where an object is needed",
        fix=f'write each row as {{"column": value, …}}{hint}',
    )


def not_json(place: str, error: Exception, found: str) -> DataError:
    """Return the error for text that is not JSON."""
    said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return DataError(
        f"{place}: not JSON ({said}): {found.strip()[:80]!r}",
        fix="mend or delete this row: each must be one whole JSON object",
    )
