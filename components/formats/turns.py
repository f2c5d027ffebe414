"""Turns of a conversation, read from a list of {"role", "content"}."""

from collections.abc import Sequence
from typing import Any

from components.contracts.errors import did_you_mean
from components.formats.example import Message, RowError

ROLES = ("system", "user", "assistant", "tool")


def conversation(value: Any, column: str) -> tuple[Message, ...]:
    """Return the turns in `value`; raise `RowError` naming column and turn that are wrong."""
    if not isinstance(value, list) or not value:
        raise RowError(
            "value", f"column '{column}' must hold a list of turns, not {shown(value)}", value
        )
    return tuple(_message(turn, f"column '{column}', turn {n}") for n, turn in enumerate(value, 1))


def need_answer(messages: Sequence[Message]) -> str:
    """Return the last turn's text; raise `RowError` unless the assistant says it."""
    if messages[-1]["role"] != "assistant":
        raise RowError(
            "value",
            f"the last turn is the {messages[-1]['role']}'s, but the assistant's is to be learned",
            messages[-1],
        )
    return messages[-1]["content"]


def joined(messages: Sequence[Message]) -> str:
    """Return the texts of all turns, one below the other."""
    return "\n".join(message["content"] for message in messages)


def with_system(messages: tuple[Message, ...], system: str | None) -> tuple[Message, ...]:
    """Return `messages` with `system` before them, unless there is none or they have their own."""
    if not system or messages[0]["role"] == "system":
        return messages
    return (Message(role="system", content=system), *messages)


def shown(value: Any) -> str:
    """Return the beginning of a value for an error."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
        raise RowError("value", f"{place} must have role and content: {shown(turn)}", turn)
    role, content = turn["role"], turn["content"]
    if role not in ROLES:
        raise RowError(
            "value",
            f"{place} has the role {role!r}{did_you_mean(str(role), ROLES)} "
            f"(roles: {', '.join(ROLES)})",
            turn,
        )
    if not isinstance(content, str):
        raise RowError("value", f"{place} has no text: {shown(turn)}", turn)
    return Message(role=role, content=content)
