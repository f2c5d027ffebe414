"""Turns that say more than text, in the messages format: calls of tools, parts, weights."""

from typing import Any

import pytest

from components.formats.detect import resolve
from components.formats.example import RowError
from components.formats.read import read, write
from components.formats.settings import (
    AutoSettings,
    MessagesSettings,
    PreferenceSettings,
    ShareGPTSettings,
)

FORM = MessagesSettings(kind="messages")
ASK = {"role": "user", "content": "Is it wet?"}
ANSWER = {"role": "assistant", "content": "It rains."}
FUNCTION = {"name": "weather", "arguments": {"city": "Oslo"}}
CALL = {"type": "function", "function": FUNCTION}


def calling(arguments: Any = '{"city": "Oslo"}', **more: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}], **more}


def test_null_beside_a_call_is_read_as_no_text() -> None:
    for turn in (calling(content=None), calling(), calling(content="")):
        example = read({"messages": [ASK, turn]}, FORM)
        assert example.messages[-1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
        assert example.answer == '{"arguments": {"city": "Oslo"}, "name": "weather"}'
        assert example.text == f"Is it wet?\n{example.answer}"
        assert example.references == (example.answer,)


def test_arguments_are_an_object_however_they_came() -> None:
    for arguments in ('{"city": "Oslo"}', {"city": "Oslo"}):
        example = read({"messages": [ASK, calling(arguments)]}, FORM)
        assert example.messages[-1]["tool_calls"][0]["function"] == FUNCTION
    for nothing in (None, "", {}, "{}"):
        example = read({"messages": [ASK, calling(nothing)]}, FORM)
        assert example.messages[-1]["tool_calls"][0]["function"]["arguments"] == {}


def test_columns_of_parquet_leave_no_empty_keys_behind() -> None:
    turn = {**ANSWER, "tool_calls": None, "name": None, "tool_call_id": None, "weight": 1}
    assert read({"messages": [ASK, turn]}, FORM).messages == (ASK, ANSWER)


def test_the_tools_stand_at_the_first_turn() -> None:
    tool = {"name": "weather", "parameters": {}}
    wrapped = {"type": "function", "function": tool}
    for given in ([tool], [wrapped], '[{"name": "weather", "parameters": {}}]'):
        example = read({"messages": [ASK, ANSWER], "tools": given}, FORM)
        assert example.messages == ({**ASK, "tools": [wrapped]}, ANSWER)
        assert read(write(example, FORM), FORM) == example
    for nothing in (None, "", [], "[]"):
        assert read({"messages": [ASK, ANSWER], "tools": nothing}, FORM).messages == (ASK, ANSWER)
    ignoring = MessagesSettings(kind="messages", tools=None)
    assert read({"messages": [ASK, ANSWER], "tools": 7}, ignoring).messages == (ASK, ANSWER)


def test_text_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "It "}, {"type": "text", "text": "rains."}]
    assert read({"messages": [ASK, {**ANSWER, "content": parts}]}, FORM).answer == "It rains."


def test_auto_sees_turns_without_content_and_the_tools() -> None:
    rows = [
        {"messages": [ASK, calling(), {"role": "tool", "content": "rain"}, ANSWER], "tools": []}
    ]
    found = resolve(AutoSettings(kind="auto"), ["messages", "tools"], rows)
    assert found == MessagesSettings(kind="messages", messages="messages", tools="tools")


PICTURE = [{"type": "image_url", "image_url": {"url": "x"}}]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": [ASK, {**ANSWER, "content": None}]}, "turn 2 has no text"),
    ({"messages": [{**ASK, "content": PICTURE}, ANSWER]}, "turn 1 has no text"),
    ({"messages": [{**ASK, "content": None}, ANSWER]}, "turn 1 has no text"),
    ({"messages": [{"role": "user", "tool_calls": [CALL]}, ANSWER]}, "turn 1 has no text"),
    ({"messages": [ASK, calling("Oslo")]}, "turn 2, call 1 has arguments that are no JSON object"),
    ({"messages": [ASK, calling("[1]")]}, "no JSON object: '\\[1\\]'"),
    ({"messages": [ASK, {**ANSWER, "tool_calls": "x"}]}, "turn 2: tool_calls must be a list"),
    ({"messages": [ASK, {**ANSWER, "tool_calls": [{}]}]}, "call 1 must be a function with a name"),
    ({"messages": [ASK, {**ANSWER, "function_call": FUNCTION}]}, "write it as tool_calls"),
    ({"messages": [ASK, {**ANSWER, "weight": 0}]}, "the last turn has weight 0"),
    (
        {"messages": [ASK, ANSWER], "tools": {"a": 1}},
        "column 'tools' must hold a list.*tools: null",
    ),
    ({"messages": [ASK, ANSWER], "tools": ["x"]}, "column 'tools', tool 1 must be a function"),
]


@pytest.mark.parametrize(("fields", "said"), BAD)
def test_what_cannot_be_learned_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RowError, match=said) as error:
        read(fields, FORM)
    assert error.value.kind == "value"


def test_sharegpt_says_the_same_in_its_own_words() -> None:
    turns = [
        {"from": "human", "value": "Is it wet?"},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Oslo"}}'},
        {"from": "observation", "value": "rain"},
        {"from": "gpt", "value": "It rains."},
    ]
    form = ShareGPTSettings(kind="sharegpt")
    tools = [{"type": "function", "function": {"name": "weather"}}]
    row = {"conversations": turns, "tools": tools}
    theirs = [ASK, calling(), {"role": "tool", "content": "rain"}, ANSWER]
    example = read(row, form)
    assert example == read({"messages": theirs, "tools": tools}, FORM)
    assert read(write(example, form), form) == example
    assert resolve(AutoSettings(kind="auto"), [*row], [row]) == ShareGPTSettings(
        kind="sharegpt", system_column=None
    )


def test_preferences_are_between_texts() -> None:
    row = {"chosen": [ASK, calling()], "rejected": [ASK, ANSWER]}
    with pytest.raises(RowError, match="column 'chosen' ends with a call of a tool"):
        read(row, PreferenceSettings(kind="preference"))
