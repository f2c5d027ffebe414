"""Cleaning of the texts in a row, before anything is made of them."""

import html
from collections.abc import Callable
from typing import Any

from components.validation.settings import ValidationSettings

MAX_ESCAPES = 3
"""Texts that went through several systems are escaped more than once: `&amp;#39;`."""


def clean(value: Any, settings: ValidationSettings) -> Any:
    """Return `value` with every text in it cleaned, at any depth."""
    if isinstance(value, str):
        return CLEANERS[settings.whitespace](
            _unescape(value) if settings.unescape_html and "&" in value else value
        )
    if isinstance(value, dict):
        return {key: clean(part, settings) for key, part in value.items()}
    if isinstance(value, list):
        return [clean(part, settings) for part in value]
    return value


def has_entities(value: Any) -> bool:
    """Say whether a text at any depth of `value` holds HTML entities."""
    if isinstance(value, str):
        return "&" in value and html.unescape(value) != value
    if isinstance(value, dict):
        return any(map(has_entities, value.values()))
    return isinstance(value, list) and any(map(has_entities, value))


def _keep(text: str) -> str:
    return text.replace("\r\n", "\n")


def _strip(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _collapse(text: str) -> str:
    return " ".join(text.split())


CLEANERS: dict[str, Callable[[str], str]] = {
    "keep": _keep,
    "strip": _strip,
    "collapse": _collapse,
}


def _unescape(text: str) -> str:
    for _ in range(MAX_ESCAPES):
        plain = html.unescape(text)
        if plain == text:
            break
        text = plain
    return text
