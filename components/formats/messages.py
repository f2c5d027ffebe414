"""A conversation in OpenAI's shape, whose last turn is the answer to learn."""

from typing import Any

from components.contracts.errors import did_you_mean
from components.formats.example import Example, Fields, Message, RowError, column
from components.formats.settings import MessagesSettings

ROLES = ("system", "user", "assistant", "tool")


def read(fields: Fields, settings: MessagesSettings) -> Example:
    """Return the example of one row; raise `RowError` naming the turn that is wrong."""
    turns = column(fields, settings.messages)
    if not isinstance(turns, list) or not turns:
        raise RowError(
            "value",
            f"column '{settings.messages}' must hold a list of turns, not {_shown(turns)}",
            turns,
        )
    messages = tuple(_message(turn, number) for number, turn in enumerate(turns, start=1))
    if messages[-1]["role"] != "assistant":
        raise RowError(
            "value",
            f"the last turn is the {messages[-1]['role']}'s, but the assistant's is to be learned",
            messages[-1],
        )
    text = "\n".join(message["content"] for message in messages)
    return Example(messages, messages[-1]["content"], (), -1, text)


def columns(settings: MessagesSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.messages,)


def _message(turn: Any, number: int) -> Message:
    if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
        raise RowError("value", f"turn {number} must have role and content: {_shown(turn)}", turn)
    if turn["role"] not in ROLES:
        raise RowError(
            "value",
            f"turn {number} has the role {turn['role']!r}"
            f"{did_you_mean(str(turn['role']), ROLES)} (roles: {', '.join(ROLES)})",
            turn,
        )
    if not isinstance(turn["content"], str):
        raise RowError("value", f"turn {number} has no text: {_shown(turn)}", turn)
    return Message(role=turn["role"], content=turn["content"])


def _shown(value: Any) -> str:
    return repr(value)[:80]
