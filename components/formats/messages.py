"""A conversation in OpenAI's shape, whose last turn is the answer to learn."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import Example, Fields, column
from components.formats.settings import MessagesSettings
from components.formats.tools import tools_of, with_tools
from components.formats.turns import conversation, joined, need_answer


def read(fields: Fields, settings: MessagesSettings) -> Example:
    """Return the example of one row; raise `RowError` naming the turn or tool that is wrong."""
    turns = conversation(column(fields, settings.messages), settings.messages)
    tools = tools_of(fields, settings.tools)
    return Example(with_tools(turns, tools), need_answer(turns), (), -1, joined(turns))


def write(example: Example, settings: MessagesSettings) -> Iterator[dict[str, Any]]:
    """Yield the row that may read as `example`."""
    turns = [dict(message) for message in example.messages]
    tools = turns[0].pop("tools", None) if turns else None
    row = {settings.messages: turns}
    yield row if tools is None or settings.tools is None else {**row, settings.tools: tools}


def columns(settings: MessagesSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.messages,)


def optional(settings: MessagesSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    return (settings.tools,)
