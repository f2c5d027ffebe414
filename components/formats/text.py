"""Plain text, learned whole."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import Example, Fields, text_column
from components.formats.settings import TextSettings


def read(fields: Fields, settings: TextSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column."""
    return Example((), "", (), -1, text_column(fields, settings.text))


def write(example: Example, settings: TextSettings) -> Iterator[dict[str, Any]]:
    """Yield the row that may read as `example`."""
    yield {settings.text: example.text}


def columns(settings: TextSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.text,)


def optional(settings: TextSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    del settings
    return ()
