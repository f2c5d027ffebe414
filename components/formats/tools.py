"""What a conversation may say beside text, in OpenAI's shape: calls of tools, and the tools.

Templates take a call's arguments as an object and write it as JSON themselves; OpenAI's own files
hold it as a text, which such a template would quote once more. So it is an object here.
"""

import json
from typing import Any

from components.formats.example import Fields, Message, RowError

Call = dict[str, Any]
"""{"type": "function", "function": {"name", "arguments"}}, perhaps with an `id`."""

Tool = dict[str, Any]
"""{"type": "function", "function": {"name", …}}."""


def read_calls(value: Any, place: str) -> list[Call]:
    """Return the calls of a turn, arguments as objects; raise `RowError` naming what is wrong."""
    if not isinstance(value, list):
        raise RowError("value", f"{place}: tool_calls must be a list, not {_short(value)}", value)
    return [_call(one, f"{place}, call {n}") for n, one in enumerate(value, start=1)]


def written_calls(text: str, place: str) -> list[Call]:
    """Return the calls in the JSON of one or of a list; raise `RowError` if it is neither."""
    found = _json(text)
    calls = read_calls(found if isinstance(found, list) else [found], place)
    if not calls:
        raise RowError("value", f"{place} calls nothing: {_short(text)}", text)
    return calls


def tools_of(fields: Fields, column: str | None) -> list[Tool]:
    """Return the tools in a column, a list or the JSON of one; none where there is no column.

    Raises `RowError` if it holds something else.
    """
    value = None if column is None else fields.get(column)
    if column is None or value in (None, ""):
        return []
    found = _json(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise RowError(
            "value",
            f"column '{column}' must hold a list of tools, not {_short(value)}; "
            "format.tools: null leaves the column out",
            value,
        )
    return [_tool(one, f"column '{column}', tool {n}") for n, one in enumerate(found, start=1)]


def with_tools(turns: tuple[Message, ...], tools: list[Tool]) -> tuple[Message, ...]:
    """Return `turns` with the tools, if there are any, at the first one."""
    return ({**turns[0], "tools": tools}, *turns[1:]) if tools else turns


def spoken(calls: list[Call]) -> str:
    """Return calls as text, one a line."""
    return "\n".join(
        json.dumps(call["function"], ensure_ascii=False, sort_keys=True) for call in calls
    )


def _call(value: Any, place: str) -> Call:
    function = _function(value, place)
    arguments = function.get("arguments")
    found = _json(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(found or {}, dict):
        raise RowError(
            "value", f"{place} has arguments that are no JSON object: {_short(arguments)}", value
        )
    call: Call = {
        "type": "function",
        "function": {"name": function["name"], "arguments": found or {}},
    }
    return {"id": value["id"], **call} if value.get("id") else call


def _tool(value: Any, place: str) -> Tool:
    return {"type": "function", "function": _function(value, place)}


def _function(value: Any, place: str) -> dict[str, Any]:
    """Return the function in a call or a tool: both come bare, too."""
    inner = value.get("function") or value if isinstance(value, dict) else value
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError("value", f"{place} must be a function with a name: {_short(value)}", value)
    return dict(inner)


def _json(text: str) -> Any:
    """Return what a JSON text holds; the text itself if it is none, an empty one as nothing."""
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
