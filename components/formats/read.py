"""Which format reads which row."""

from collections.abc import Callable
from typing import Any, NamedTuple

from components.formats import classification, messages, prompt_completion, text
from components.formats.example import Example, Fields
from components.formats.settings import FormatSettings


class Format(NamedTuple):
    """How a format reads a row, and the columns that it needs."""

    read: Callable[[Fields, Any], Example]
    columns: Callable[[Any], tuple[str, ...]]


FORMATS: dict[str, Format] = {
    "classification": Format(classification.read, classification.columns),
    "messages": Format(messages.read, messages.columns),
    "prompt_completion": Format(prompt_completion.read, prompt_completion.columns),
    "text": Format(text.read, text.columns),
}


def read(fields: Fields, settings: FormatSettings) -> Example:
    """Return the example that `settings` makes of one row; raise `RowError` if it does not fit."""
    return FORMATS[settings.kind].read(fields, settings)


def columns(settings: FormatSettings) -> tuple[str, ...]:
    """Return the columns that a row must have under `settings`."""
    return FORMATS[settings.kind].columns(settings)
