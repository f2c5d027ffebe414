"""A conversation in OpenAI's shape, whose last turn is the answer to learn."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import Example, Fields, Message, column
from components.formats.settings import MessagesSettings
from components.formats.tools import read_tools
from components.formats.turns import conversation, joined, need_answer


def read(fields: Fields, settings: MessagesSettings) -> Example:
    """Return the example of one row; raise `RowError` naming the turn or tool that is wrong."""
    turns = conversation(column(fields, settings.messages), settings.messages)
    own = None if settings.tools is None else fields.get(settings.tools)
    tools = [] if own in (None, "") else read_tools(own, settings.tools or "")
    return Example(with_tools(turns, tools), need_answer(turns), (), -1, joined(turns))


def with_tools(turns: tuple[Message, ...], tools: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Return `turns` with the tools, if there are any, at the first one."""
    return ({**turns[0], "tools": tools}, *turns[1:]) if tools else turns


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
