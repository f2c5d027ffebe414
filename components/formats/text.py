"""Plain text, learned whole."""

from components.formats.example import Example, Fields, text_column
from components.formats.settings import TextSettings


def read(fields: Fields, settings: TextSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column."""
    return Example((), "", (), -1, text_column(fields, settings.text))


def columns(settings: TextSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.text,)
