"""Turns of a conversation, read from a list of {"role", "content"}."""

from collections.abc import Sequence
from typing import Any

from components.contracts.errors import did_you_mean
from components.formats.example import Message, RowError
from components.formats.tools import read_calls, spoken

ROLES = ("system", "user", "assistant", "tool")


def conversation(value: Any, column: str) -> tuple[Message, ...]:
    """Return the turns in `value`; raise `RowError` naming column and turn that are wrong."""
    if not isinstance(value, list) or not value:
        raise RowError(
            "value", f"column '{column}' must hold a list of turns, not {shown(value)}", value
        )
    return tuple(_message(turn, f"column '{column}', turn {n}") for n, turn in enumerate(value, 1))


def need_answer(messages: Sequence[Message]) -> str:
    """Return what the last turn says; raise `RowError` unless it is the assistant's, to learn."""
    last = messages[-1]
    if last["role"] != "assistant":
        raise RowError(
            "value",
            f"the last turn is the {last['role']}'s, but the assistant's is to be learned",
            last,
        )
    if last.get("weight") == 0:
        raise RowError(
            "value",
            "the last turn has weight 0, so it is not to be learned: leave out the turns after "
            "the last answer that is",
            last,
        )
    return said(last)


def said(message: Message) -> str:
    """Return the text of a turn, its calls of tools below it."""
    calls = message.get("tool_calls")
    return (
        "\n".join(filter(None, (message["content"], spoken(calls))))
        if calls
        else message["content"]
    )


def joined(messages: Sequence[Message]) -> str:
    """Return what all turns say, one below the other."""
    return "\n".join(map(said, messages))


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
    if not isinstance(turn, dict) or "role" not in turn or not _SAID & turn.keys():
        raise RowError("value", f"{place} must have role and content: {shown(turn)}", turn)
    role = turn["role"]
    if role not in ROLES:
        raise RowError(
            "value",
            f"{place} has the role {role!r}{did_you_mean(str(role), ROLES)} "
            f"(roles: {', '.join(ROLES)})",
            turn,
        )
    if turn.get("function_call"):
        raise RowError("value", f"{place} has a function_call: write it as tool_calls", turn)
    more = _more(turn, place)
    message = Message(role=role, content=_content(turn, place, silent="tool_calls" in more))
    message.update(more)  # type: ignore[typeddict-item]
    return message


def _content(turn: dict[str, Any], place: str, *, silent: bool) -> str:
    """Return a turn's text: the parts of a list joined, "" for null beside calls of tools."""
    content = turn.get("content")
    if isinstance(content, list) and all(map(_is_text_part, content)):
        return "".join(part["text"] for part in content)
    if content is None and silent:
        return ""
    if not isinstance(content, str):
        raise RowError("value", f"{place} has no text: {shown(turn)}", turn)
    return content


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part["text"], str)


def _more(turn: dict[str, Any], place: str) -> dict[str, Any]:
    """Return what else of a turn counts; keys that say nothing to a template are left out."""
    names = OF_ROLE.get(turn["role"], ())
    found = {name: turn[name] for name in names if turn.get(name) not in (None, "", [])}
    if "tool_calls" in found:
        found["tool_calls"] = read_calls(found["tool_calls"], place)
    if found.pop("weight", 1) == 0:
        found["weight"] = 0
    return found


OF_ROLE = {
    "assistant": ("tool_calls", "reasoning_content", "weight"),
    "tool": ("tool_call_id", "name"),
}
"""Keys of a turn beside role and content, by role."""

_SAID = {"content", "tool_calls"}
