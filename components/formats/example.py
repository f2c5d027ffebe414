"""The one shape that every format becomes, and the fault of a row that does not fit its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from components.contracts.errors import DataError, did_you_mean

Fields = Mapping[str, Any]
Fault = Literal["column", "null", "value", "label"]


class Message(TypedDict):
    """One turn of a conversation: role and text, and more where a row has it.

    `tool_calls`, `tool_call_id` and `name` are OpenAI's (see `components.formats.tools`), as is a
    `weight` of 0: an answer not to learn. `reasoning_content` is the thought before an answer. The
    first turn may hold the `tools` of the conversation.
    """

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    weight: NotRequired[int]
    tools: NotRequired[list[dict[str, Any]]]


@dataclass(frozen=True)
class Example:
    """One row as the line sees it.

    `messages` ends with the assistant's turn to learn, and `answer` repeats its content (with calls
    of tools as JSON below it); plain text has no messages and no answer. `choices` are the label
    words (empty for free answers), `target` the index of the right one or -1. `text` is the row's
    own text: what makes two rows the same. `rejected` is the text of the answer that was not
    preferred, "" if there is none. `references` are all accepted answers: `answer` comes first in
    it whenever there are messages, so that a reader needs no other case; plain text has none.
    """

    messages: tuple[Message, ...]
    answer: str
    choices: tuple[str, ...]
    target: int
    text: str
    rejected: str = ""
    references: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.messages and not self.references:
            object.__setattr__(self, "references", (self.answer,))


class RowError(DataError):
    """A row that does not fit its format. `kind` says how, `value` is what was found."""

    def __init__(self, kind: Fault, problem: str, value: object = None) -> None:
        self.kind = kind
        self.value = value
        super().__init__(problem)


def column(fields: Fields, name: str) -> Any:
    """Return `fields[name]`; raise `RowError` when the column is missing or null."""
    if name not in fields:
        raise RowError(
            "column",
            f"no column '{name}'{did_you_mean(name, fields)} (columns: {', '.join(fields)})",
        )
    if fields[name] is None:
        raise RowError("null", f"column '{name}' is null")
    return fields[name]


def text_column(fields: Fields, name: str) -> str:
    """Return the text in column `name`; raise `RowError` when it is anything but text."""
    return as_text(column(fields, name), f"column '{name}'")


def optional_text(fields: Fields, name: str | None) -> str:
    """Return the text in column `name`, or "" where there is none; raise `RowError` if no text."""
    value = None if name is None else fields.get(name)
    return "" if value is None else as_text(value, f"column '{name}'")


def as_text(value: Any, place: str) -> str:
    """Return `value`; raise `RowError` naming `place` when it is anything but text."""
    if not isinstance(value, str):
        raise RowError("value", f"{place} holds {type(value).__name__}, not text", value)
    return value


def system_turn(system: str | None) -> tuple[Message, ...]:
    """Return the system turn, if there is one."""
    return () if system is None else (Message(role="system", content=system),)
