"""Export settings that were found, put into a recipe: every other line stays as it is."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from components.contracts.errors import RecipeError


def with_variant(text: str, variant: str, settings: Mapping[str, Any], place: str) -> str:
    """Return the text of a recipe whose `export` makes `variant` with `settings`.

    Comments and all other lines are kept. Raises `RecipeError` naming `place` where that cannot be
    done without touching more.
    """
    wanted = yaml.safe_load(text)
    section = dict(wanted.get("export") or {})
    variants = list(section.get("variants") or [])
    if variants and variant not in variants:
        section["variants"] = [*variants, variant]
    section[variant] = dict(settings)
    wanted["export"] = section
    found = text
    for key in ("variants", variant):
        if key in section and section[key] != (yaml.safe_load(found).get("export") or {}).get(key):
            found = with_key(found, key, section[key], place)
    with suppress(yaml.YAMLError):
        if yaml.safe_load(found) == wanted:
            return found
    raise refused(place, variant, settings)


def with_key(text: str, key: str, value: Any, place: str) -> str:
    """Return `text` with `export.KEY` set to `value`, written on one line."""
    line = f"{key}: {flow(value)}"
    _, section = entry(yaml.compose(text, Loader=yaml.SafeLoader), "export")
    if section is None:
        return f"{text.rstrip()}\n\nexport:\n  {line}\n"
    begin, end = section.start_mark.index, section.end_mark.index
    if not isinstance(section, yaml.MappingNode) or not section.value:
        space = "" if text[begin - 1 : begin] == " " else " "
        return f"{text[:begin]}{space}{{{line}}}{text[end:]}"
    name, old = entry(section, key)
    if name is not None:
        # A block's mark is where the next key begins: what stands between is kept.
        end = len(text[: old.end_mark.index].rstrip())
        return f"{text[: name.end_mark.index]}: {flow(value)}{text[end:]}"
    if section.flow_style:
        return f"{text[: end - 1]}, {line}{text[end - 1 :]}"
    indent = " " * section.value[0][0].start_mark.column
    last = len(text[: section.value[-1][1].end_mark.index].rstrip())
    end = text.find("\n", last)
    end = len(text) if end < 0 else end
    return f"{text[:end]}\n{indent}{line}{text[end:]}"


def flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    if isinstance(value, str) and value.isidentifier():
        return value
    return json.dumps(value)


def entry(node: Any, key: str) -> tuple[Any, Any]:
    """Return the nodes of a key in a mapping and of its value, None where it has no such key."""
    if not isinstance(node, yaml.MappingNode):
        return None, None
    return next(((name, value) for name, value in node.value if name.value == key), (None, None))


def refused(place: str, variant: str, settings: Mapping[str, Any]) -> RecipeError:
    """Return the error that says what to write by hand."""
    return RecipeError(
        f"{place}: export.{variant} cannot be changed by itself",
        fix=f"write `{variant}: {flow(settings)}` below `export` by hand",
    )
