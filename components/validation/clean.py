"""Cleaning of the texts in a row, before anything is made of them."""

import html
from collections.abc import Mapping
from typing import Any

from components.validation.settings import ValidationSettings

MAX_ESCAPES = 3
"""Texts that went through several systems are escaped more than once: `&amp;#39;`."""


def clean(fields: Mapping[str, Any], settings: ValidationSettings) -> dict[str, Any]:
    """Return the fields with every text cleaned, at any depth."""
    return {name: _clean(value, settings) for name, value in fields.items()}


def has_entities(value: Any) -> bool:
    """Say whether a text at any depth of `value` holds HTML entities."""
    if isinstance(value, str):
        return "&" in value and html.unescape(value) != value
    if isinstance(value, dict):
        return any(map(has_entities, value.values()))
    return isinstance(value, list) and any(map(has_entities, value))


def _clean(value: Any, settings: ValidationSettings) -> Any:
    if isinstance(value, str):
        return _clean_text(value, settings)
    if isinstance(value, dict):
        return {key: _clean(part, settings) for key, part in value.items()}
    if isinstance(value, list):
        return [_clean(part, settings) for part in value]
    return value


def _clean_text(text: str, settings: ValidationSettings) -> str:
    if settings.unescape_html:
        text = _unescape(text)
    if settings.whitespace == "collapse":
        return " ".join(text.split())
    text = text.replace("\r\n", "\n")
    return text.strip() if settings.whitespace == "strip" else text


def _unescape(text: str) -> str:
    for _ in range(MAX_ESCAPES):
        plain = html.unescape(text)
        if plain == text:
            break
        text = plain
    return text
