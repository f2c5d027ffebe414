"""A text, and one of a few label words as the answer."""

import math
from collections.abc import Iterator
from typing import Any

from components.contracts.errors import did_you_mean
from components.formats.example import (
    Example,
    Fields,
    Message,
    RowError,
    column,
    system_turn,
    text_column,
)
from components.formats.settings import ClassificationSettings, LabelSettings
from components.formats.template import fill


def read(fields: Fields, settings: ClassificationSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column or an unknown label."""
    text = text_column(fields, settings.text)
    target = _target(column(fields, settings.label.column), settings.label)
    names = settings.label.names
    messages = (
        *system_turn(settings.system),
        Message(role="user", content=fill(settings.template, {"text": text})),
        Message(role="assistant", content=names[target]),
    )
    return Example(messages, names[target], names, target, text)


def write(example: Example, settings: ClassificationSettings) -> Iterator[dict[str, Any]]:
    """Yield the row that may read as `example`."""
    label = settings.label
    yield {settings.text: example.text, label.column: _value(example.target, label)}


def columns(settings: ClassificationSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.text, settings.label.column)


def optional(settings: ClassificationSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    del settings
    return ()


def _target(value: Any, label: LabelSettings) -> int:
    if label.bins is not None:
        return _bin(_number(value, label), label.bins)
    if label.values is not None:
        value = {str(key): name for key, name in label.values.items()}.get(str(value), value)
    if value in label.names:
        return label.names.index(value)
    allowed = label.names if label.values is None else [*map(str, label.values), *label.names]
    raise RowError(
        "label",
        f"label {value!r} in column '{label.column}' is not known"
        f"{did_you_mean(str(value), allowed)} (labels: {', '.join(allowed)})",
        value,
    )


def _number(value: Any, label: LabelSettings) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RowError("label", f"column '{label.column}' holds {value!r}, not a number", value)
    return number


def _bin(number: float, bins: tuple[float, ...]) -> int:
    middle = len(bins) / 2
    return sum(
        number > edge or (number == edge and index < middle) for index, edge in enumerate(bins)
    )


def _value(target: int, label: LabelSettings) -> Any:
    """Return what the label column holds for the name at index `target`."""
    if label.bins is not None:
        edges = (label.bins[0] - 2, *label.bins, label.bins[-1] + 2)
        return (edges[target] + edges[target + 1]) / 2
    keys = [key for key, name in (label.values or {}).items() if name == label.names[target]]
    return keys[0] if keys else label.names[target]
