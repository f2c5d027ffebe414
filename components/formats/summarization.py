"""A document and its summary."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import Example, Fields, Message, system_turn, text_column
from components.formats.settings import SummarizationSettings
from components.formats.template import fill, unfill


def read(fields: Fields, settings: SummarizationSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column."""
    document = text_column(fields, settings.document)
    summary = text_column(fields, settings.summary)
    messages = (
        *system_turn(settings.system),
        Message(role="user", content=fill(settings.template, {"document": document})),
        Message(role="assistant", content=summary),
    )
    return Example(messages, summary, (), -1, f"{document}\n{summary}")


def write(example: Example, settings: SummarizationSettings) -> Iterator[dict[str, Any]]:
    """Yield rows that may read as `example`."""
    for values in unfill(settings.template, ["document"], example.messages[-2]["content"]):
        yield {settings.document: values["document"], settings.summary: example.answer}


def columns(settings: SummarizationSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.document, settings.summary)


def optional(settings: SummarizationSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    del settings
    return ()
