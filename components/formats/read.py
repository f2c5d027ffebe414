"""Which format reads which row, and writes it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from components.contracts.errors import DataError
from components.formats import (
    alpaca,
    classification,
    messages,
    preference,
    prompt_completion,
    question_answering,
    sharegpt,
    summarization,
    text,
    translation,
)
from components.formats.example import Example, Fields, RowError
from components.formats.settings import FormatSettings


class Format(NamedTuple):
    """How a format reads and writes a row, the columns that it needs and those it may use."""

    read: Callable[[Fields, Any], Example]
    write: Callable[[Example, Any], Iterator[dict[str, Any]]]
    columns: Callable[[Any], tuple[str, ...]]
    optional: Callable[[Any], tuple[str | None, ...]]


FORMATS: dict[str, Format] = {
    name: Format(module.read, module.write, module.columns, module.optional)
    for name, module in {
        "alpaca": alpaca,
        "classification": classification,
        "messages": messages,
        "preference": preference,
        "prompt_completion": prompt_completion,
        "question_answering": question_answering,
        "sharegpt": sharegpt,
        "summarization": summarization,
        "text": text,
        "translation": translation,
    }.items()
}
"""All kinds but `auto`, which `components.formats.detect.resolve` turns into one of these."""


WITHOUT_PROMPT = ("messages", "sharegpt", "text")
"""Kinds whose rows need no turn before the answer."""


def read(fields: Fields, settings: FormatSettings) -> Example:
    """Return the example that `settings` makes of one row; raise `RowError` if it does not fit."""
    return FORMATS[settings.kind].read(fields, settings)


def write(example: Example, settings: FormatSettings) -> dict[str, Any]:
    """Return a row that `read` makes `example` of; raise `DataError` if no row of this kind does.

    It need not be the row that the example came from: columns that are not used are gone.
    """
    enough = len(example.messages) > 1 or settings.kind in WITHOUT_PROMPT
    for fields in FORMATS[settings.kind].write(example, settings) if enough else ():
        try:
            if read(fields, settings) == example:
                return fields
        except RowError:
            continue
    raise DataError(
        f"no row of the kind '{settings.kind}' says the same as this example: "
        f"{example.text[:80]!r}",
        fix="write it in another format: messages holds any conversation, preference any pair",
    )


def columns(settings: FormatSettings) -> tuple[str, ...]:
    """Return the columns that a row must have under `settings`."""
    return FORMATS[settings.kind].columns(settings)


def used_columns(settings: FormatSettings) -> tuple[str, ...]:
    """Return the columns that `read` looks at: those a row must have and those it may have."""
    may = [name for name in FORMATS[settings.kind].optional(settings) if name is not None]
    return tuple(dict.fromkeys([*columns(settings), *may]))
