"""Settings written into a recipe's text; not one other character changes."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import RecipeError
from flows.recipe import parse_recipe, recipe_file


def write_values(root: Path, recipe: str, values: Mapping[str, Any]) -> None:
    """Set `section.key` → value in the recipe's file, comments and order kept.

    The file is replaced whole, and only by one that is a valid recipe: else `RecipeError`.
    """
    sheet = recipe_file(root, recipe)
    text = with_values(sheet.read_bytes().decode("utf-8"), values, f"recipes/{sheet.name}")
    beside = sheet.with_name(f".{sheet.name}.tmp")
    try:
        beside.write_bytes(text.encode("utf-8"))
        parse_recipe(beside)
        beside.replace(sheet)
    finally:
        beside.unlink(missing_ok=True)


def with_values(text: str, values: Mapping[str, Any], place: str) -> str:
    """Return the text of a recipe with other values, each at its dotted path.

    Raises `RecipeError` naming `place` where one cannot be changed by itself, as with an alias.
    """
    for key, value in values.items():
        text = _with(text, key, value, place)
    return text


def _with(text: str, key: str, value: Any, place: str) -> str:
    path = key.split(".")
    wanted = _unshared(yaml.safe_load(text))
    if _get(wanted, path) == value:
        return text
    _put(wanted, path, value)
    with suppress(yaml.YAMLError, LookupError):
        new = _edited(text, path, value)
        if yaml.safe_load(new) == wanted:
            return new
    raise RecipeError(
        f"{place}: {key} cannot be changed by itself",
        fix=f"write {key} = {written(value)} by hand",
    )


def _edited(text: str, path: Sequence[str], value: Any) -> str:
    """Replace the value, or put the first missing key at the head of the mapping it belongs to."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, name in enumerate(path):
        found = next((v for k, v in node.value if k.value == name), None)
        if found is None or not (isinstance(found, yaml.MappingNode) or depth == len(path) - 1):
            break
        node = found
    else:
        return text[: node.start_mark.index] + written(value) + text[_end(text, node) :]
    rest = written(_nested(path[depth + 1 :], value))
    if found is not None:  # `pruning: null`: a scalar where a mapping is wanted
        return text[: found.start_mark.index] + rest + text[_end(text, found) :]
    if not node.value:
        return f"{text[: node.start_mark.index]}{{{name}: {rest}}}{text[node.end_mark.index :]}"
    start = node.value[0][0].start_mark
    between = ", " if node.flow_style else "\n" + " " * start.column
    return f"{text[: start.index]}{name}: {rest}{between}{text[start.index :]}"


def _end(text: str, node: Any) -> int:
    """Return where a value ends: PyYAML counts what follows a block, comments too, to the block."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    inner = text[node.start_mark.index : node.end_mark.index]
    return int(node.start_mark.index) + len(inner.rstrip())


def _unshared(data: Any) -> Any:
    """Copy YAML data so that an alias is a copy of its own."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(value) for value in data] if isinstance(data, list) else data


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _get(data: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(data, Mapping) or name not in data:
            return KeyError
        data = data[name]
    return data


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(data.get(name), dict):
            data[name] = {}
        data = data[name]
    data[path[-1]] = value


def written(value: Any) -> str:
    """Return a value as YAML that stands in a line; numbers as recipes write them (`3.0e-4`)."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, float):
        text = repr(value)
        # YAML 1.1 reads 3e-04 as text: a float with an exponent needs its point.
        return re.sub(r"^(-?\d+)e", r"\1.0e", text).replace("e-0", "e-")
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w/-]*", value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
