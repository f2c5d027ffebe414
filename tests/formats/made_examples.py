"""What the tests of formats make examples and settings with."""

from itertools import cycle
from typing import Any

from pydantic import TypeAdapter

from components.formats.example import Message
from components.formats.settings import FormatSettings

NAMES = ("negative", "neutral", "positive")
"""Label words."""


def settings(values: dict[str, Any]) -> Any:
    return TypeAdapter(FormatSettings).validate_python(values)


def turns(*said: str, system: str | None = None) -> tuple[Message, ...]:
    """Return a system turn, if there is one, then the user's and the assistant's in turn."""
    first = [("system", system)] if system is not None else []
    pairs = [*first, *zip(cycle(("user", "assistant")), said, strict=False)]
    return tuple(Message(role=role, content=content) for role, content in pairs)
