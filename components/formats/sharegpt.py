"""A conversation in ShareGPT's shape, whose last turn is the answer to learn."""

from collections.abc import Iterator
from typing import Any

from components.contracts.errors import did_you_mean
from components.formats.example import Example, Fields, Message, RowError, column, optional_text
from components.formats.settings import ShareGPTSettings
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
TOOLS = {
    "function",
    "function_call",
    "function_response",
    "observation",
    "tool",
    "tool_call",
    "tool_response",
    "tools",
}


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
    return Example(messages, need_answer(messages), (), -1, joined(messages))


def write(example: Example, settings: ShareGPTSettings) -> Iterator[dict[str, Any]]:
    """Yield the row that may read as `example`."""
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    turns = [
        {
            settings.role_tag: names.get(message["role"], message["role"]),
            settings.content_tag: message["content"],
        }
        for message in example.messages
    ]
    yield {settings.conversations: turns}


def columns(settings: ShareGPTSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.conversations,)


def optional(settings: ShareGPTSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    return (settings.system_column,)


def _message(turn: Any, place: str, settings: ShareGPTSettings) -> Message:
    role, content = settings.role_tag, settings.content_tag
    if not isinstance(turn, dict) or not {role, content} <= turn.keys():
        raise RowError("value", f"{place} must have {role} and {content}: {shown(turn)}", turn)
    speaker = turn[role]
    if isinstance(speaker, str) and speaker in TOOLS:
        raise RowError(
            "value",
            f"{place} is a tool's ({speaker!r}); tool turns are not supported here: leave such "
            "rows out, or write them as format: {kind: messages} with the role tool",
            turn,
        )
    if not isinstance(speaker, str) or speaker not in SPEAKERS:
        raise RowError(
            "value",
            f"{place} is from {speaker!r}{did_you_mean(str(speaker), SPEAKERS)} "
            f"(allowed: {', '.join(SPEAKERS)})",
            turn,
        )
    if not isinstance(turn[content], str):
        raise RowError("value", f"{place} has no text: {shown(turn)}", turn)
    return Message(role=SPEAKERS[speaker], content=turn[content])
