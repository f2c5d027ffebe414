"""A conversation in ShareGPT's shape, whose last turn is the answer to learn."""

import json
from collections.abc import Iterator
from typing import Any

from components.contracts.errors import did_you_mean
from components.formats.example import Example, Fields, Message, RowError, column, optional_text
from components.formats.settings import ShareGPTSettings
from components.formats.tools import tools_of, with_tools, written_calls
from components.formats.turns import joined, need_answer, shown, with_system

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "system": "system",
}
CALLS = ("function_call", "tool_call")
"""Speakers whose text is the JSON of a call, or of a list of them."""

RESULTS = ("observation", "function_response", "tool_response", "tool", "function")
"""Speakers that are tools."""


def read(fields: Fields, settings: ShareGPTSettings) -> Example:
    """Return the example of one row; raise `RowError` naming the turn that is wrong."""
    name = settings.conversations
    turns = column(fields, name)
    if not isinstance(turns, list) or not turns:
        raise RowError(
            "value", f"column '{name}' must hold a list of turns, not {shown(turns)}", turns
        )
    own = tuple(
        _message(turn, f"column '{name}', turn {n}", settings) for n, turn in enumerate(turns, 1)
    )
    messages = with_system(own, optional_text(fields, settings.system_column))
    messages = with_tools(messages, tools_of(fields, settings.tools))
    return Example(messages, need_answer(messages), (), -1, joined(messages))


def write(example: Example, settings: ShareGPTSettings) -> Iterator[dict[str, Any]]:
    """Yield the row that may read as `example`."""
    tools: Any = example.messages[0].get("tools") if example.messages else None
    row: dict[str, Any] = {
        settings.conversations: [_turn(message, settings) for message in example.messages]
    }
    yield row if tools is None or settings.tools is None else {**row, settings.tools: tools}


def _turn(message: Message, settings: ShareGPTSettings) -> dict[str, str]:
    names = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}
    calls = message.get("tool_calls")
    name = CALLS[0] if calls else names[message["role"]]
    value = json.dumps([one["function"] for one in calls]) if calls else message["content"]
    return {settings.role_tag: name, settings.content_tag: value}


def columns(settings: ShareGPTSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.conversations,)


def optional(settings: ShareGPTSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    return (settings.system_column, settings.tools)


def _message(turn: Any, place: str, settings: ShareGPTSettings) -> Message:
    role, content = settings.role_tag, settings.content_tag
    if not isinstance(turn, dict) or not {role, content} <= turn.keys():
        raise RowError("value", f"{place} must have {role} and {content}: {shown(turn)}", turn)
    speaker, said = turn[role], turn[content]
    allowed = (*SPEAKERS, *CALLS, *RESULTS)
    if not isinstance(speaker, str) or speaker not in allowed:
        raise RowError(
            "value",
            f"{place} is from {speaker!r}{did_you_mean(str(speaker), allowed)} "
            f"(allowed: {', '.join(allowed)})",
            turn,
        )
    if not isinstance(said, str):
        raise RowError("value", f"{place} has no text: {shown(turn)}", turn)
    if speaker in CALLS:
        return Message(role="assistant", content="", tool_calls=written_calls(said, place))
    return Message(role=SPEAKERS.get(speaker, "tool"), content=said)
