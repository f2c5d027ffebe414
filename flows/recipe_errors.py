"""What is wrong in a recipe, in words: where, what was found, what is allowed."""

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from components.contracts.errors import did_you_mean

Loc = tuple[int | str, ...]


def explain(
    error: ValidationError, model: type[BaseModel], data: Any, text: str, place: str
) -> list[str]:
    """Return one line a fault; members of a union that failed on one value share a line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        path = path_in(data, detail["loc"], missing=detail["type"] == "missing")
        found, wanted = _found_and_wanted(detail, model)
        if detail["type"].startswith("union_tag"):
            path = f"{path}.{_discriminator(detail)}"
        grouped.setdefault((path, found), []).append(wanted)
    lines = dict(_lines(text))
    return [
        f"{place}: {path}: {found}{'; or '.join(dict.fromkeys(wanted))}{_line_of(path, lines)}"
        for (path, found), wanted in grouped.items()
    ]


def duplicate_keys(text: str) -> list[str]:
    """Return a fault for each key that stands twice in one mapping: YAML would take the last."""
    seen: dict[str, int] = {}
    faults = []
    for path, line in _lines(text):
        if path in seen:
            faults.append(f"{path}: stands twice, in lines {seen[path]} and {line}")
        seen[path] = line
    return faults


def path_in(data: Any, loc: Loc, *, missing: bool) -> str:
    """Return a pydantic location as the dotted path in the file, without union tags."""
    path: list[str] = []
    for step in loc[:-1] if missing else loc:
        if not _has(data, step):
            continue
        data = data[step]
        path.append(str(step))
    return ".".join([*path, str(loc[-1])] if missing else path)


def _has(data: Any, step: int | str) -> bool:
    if isinstance(data, Mapping):
        return step in data
    return isinstance(data, list) and isinstance(step, int)


def _found_and_wanted(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    kind, loc, value = detail["type"], detail["loc"], detail["input"]
    if kind == "extra_forbidden":
        allowed = allowed_keys(model, loc[:-1])
        near = did_you_mean(str(loc[-1]), allowed)
        return f"unknown key{near} ", f"(allowed: {', '.join(allowed)})"
    if kind == "missing":
        return "is missing", f" (write `{loc[0]}: {{}}` for its defaults)" if len(loc) == 1 else ""
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _tag(detail)
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if message == detail["msg"]:
        message = f"it should be {message.removeprefix('Input should be ')}"
    if kind == "literal_error" and isinstance(value, str):
        message += did_you_mean(value, _quoted(str(detail["ctx"]["expected"])))
    return f"found {_show(value)}; ", message


def _tag(detail: ErrorDetails) -> tuple[str, str]:
    if detail["type"] == "union_tag_not_found":
        return "is missing", ""
    context = detail["ctx"]
    allowed = _quoted(str(context["expected_tags"]))
    near = did_you_mean(str(context["tag"]), allowed)
    return f"found '{context['tag']}'; ", f"it should be {' or '.join(map(repr, allowed))}{near}"


def _discriminator(detail: ErrorDetails) -> str:
    return str(detail["ctx"]["discriminator"]).strip("'")


def _quoted(text: str) -> list[str]:
    return [part for at, part in enumerate(text.split("'")) if at % 2]


def _show(value: Any) -> str:
    text = repr(value)
    return f"{text[:77]}…" if len(text) > 80 else text


def allowed_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that the model at a pydantic location below `model` allows."""
    types: list[Any] = [model]
    for step in loc:
        types = [inner for one in types for inner in _inside(one, step)]
    names = (name for one in types if _is_model(one) for name in one.model_fields)
    return list(dict.fromkeys(names))


def _inside(annotation: Any, step: int | str) -> Iterator[Any]:
    """Yield the types that `step` leads to: a field, an element, or the tagged union member."""
    for option in _options(annotation):
        if _is_model(option):
            if step in option.model_fields:
                yield from _options(option.model_fields[step].annotation)
            elif step in _tags(option):
                yield option
        elif isinstance(step, int) or get_origin(option) is dict:
            kept = [arg for arg in get_args(option) if arg is not Ellipsis]
            yield from (inner for arg in kept[-1:] for inner in _options(arg))


def _options(annotation: Any) -> Iterable[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for arg in get_args(annotation) for inner in _options(arg)]
    return [annotation]


def _tags(model: type[BaseModel]) -> set[Any]:
    literals = (field.annotation for field in model.model_fields.values())
    return {
        tag for literal in literals if get_origin(literal) is Literal for tag in get_args(literal)
    } | {model.__name__}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield the dotted path and line of every key and list element."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    yield from _walk(node, "")


def _walk(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        pairs = [(key.value, key.start_mark.line, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(str(at), value.start_mark.line, value) for at, value in enumerate(node.value)]
    else:
        return
    for name, line, value in pairs:
        yield f"{prefix}{name}", line + 1
        yield from _walk(value, f"{prefix}{name}.")


def _line_of(path: str, lines: Mapping[str, int]) -> str:
    return f" (line {lines[path]})" if path in lines else ""
