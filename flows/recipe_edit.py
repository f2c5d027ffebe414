"""One setting of a recipe written by the line itself; not one other character changes."""

import json
import re
from contextlib import suppress
from typing import Any

import yaml

from components.contracts.errors import RecipeError


def with_setting(text: str, section: str, key: str, value: str | None, place: str) -> str:
    """Return the text of a recipe with `section.key` set to a text or to null.

    A key that is missing is put first in its section; null leaves out what is missing. Raises
    `RecipeError` naming `place` where that cannot be done alone, as with an alias.
    """
    before = yaml.safe_load(text)
    if (before.get(section) or {}).get(key) == value:
        return text
    wanted = {**before, section: {**(before.get(section) or {}), key: value}}
    new = _edited(text, section, key, _written(value))
    with suppress(yaml.YAMLError):
        if new is not None and yaml.safe_load(new) == wanted:
            return new
    raise RecipeError(
        f"{place}: {section}.{key} cannot be changed by itself",
        fix=f"write `{key}: {_written(value)}` below `{section}` by hand, and run again",
    )


def _edited(text: str, section: str, key: str, written: str) -> str | None:
    node = _child(yaml.compose(text, Loader=yaml.SafeLoader), section)
    if node is None:
        return None
    value = _child(node, key)
    if value is not None:
        return text[: value.start_mark.index] + written + text[value.end_mark.index :]
    if not node.value:  # `training: {}`
        inside = f"{{{key}: {written}}}"
        return text[: node.start_mark.index] + inside + text[node.end_mark.index :]
    if node.flow_style:
        at = node.start_mark.index + 1
        return f"{text[:at]}{key}: {written}, {text[at:]}"
    at, column = node.start_mark.index, node.start_mark.column
    return f"{text[:at]}{key}: {written}\n{' ' * column}{text[at:]}"


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _written(value: str | None) -> str:
    if value is None:
        return "null"
    plain = re.fullmatch(r"[\w./-]+", value) is not None
    return value if plain else json.dumps(value, ensure_ascii=False)
