"""Turns as plain text, for models that know no chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

BETWEEN = "\n\n"


def plain_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the contents of the turns in order, an empty line between them, without roles."""
    said = (str(turn.get("content") or "") for turn in messages)
    return BETWEEN.join(text for text in said if text)
