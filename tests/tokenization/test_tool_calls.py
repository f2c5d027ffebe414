"""Calls of tools, thoughts and weights: written by templates that know them, else refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from encoded import encode, trained_parts

from components.contracts.errors import ModelError
from components.formats.read import read
from components.formats.settings import MessagesSettings
from components.tokenization.encode import encode_rows
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer

Make = Callable[..., Tokenizer]

QWEN = (  # after Qwen 2.5's: tools in the system turn, a call as JSON between tags
    "{%- if tools %}{{- '<|im_start|>system\nTools:' }}"
    "{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>\n' }}"
    "{%- endif %}{%- for message in messages %}"
    "{%- if message.role == 'assistant' and message.tool_calls %}"
    "{{- '<|im_start|>assistant' }}"
    "{%- if message.content %}{{- '\n' + message.content }}{%- endif %}"
    "{%- for call in message.tool_calls %}{%- set call = call.function %}"
    '{{- \'\n<tool_call>\n{"name": "\' + call.name + \'", "arguments": \' }}'
    "{{- call.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}"
    "{%- elif message.role == 'tool' %}"
    "{{- '<|im_start|>user\n<tool_response>' + message.content + '</tool_response><|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKING = CHATML.replace(
    "m.content +",
    "('<think>' + m.reasoning_content + '</think>' if m.reasoning_content else '') + m.content +",
)

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"city": "string"}}}]
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
        }
    ],
}
ASK = {"role": "user", "content": "Is it wet?"}
TOLD = {"role": "tool", "content": "rain", "tool_call_id": "1", "name": "weather"}
ANSWER = {"role": "assistant", "content": "It rains."}
WRITTEN = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'


def row(*turns: dict[str, Any], tools: Any = None) -> dict[str, Any]:
    """Return the row of the dataset table that the messages format makes of turns."""
    example = read({"messages": list(turns), "tools": tools}, MessagesSettings(kind="messages"))
    return {
        "source": "a.jsonl",
        "row": 7,
        "text": example.text,
        "messages": json.dumps(example.messages),
        "answer": example.answer,
        "choices": [],
        "target": -1,
    }


@pytest.fixture
def qwen(make: Make) -> Tokenizer:
    return make(QWEN, "<|im_start|>", "<|im_end|>", [])


def test_a_call_is_an_answer_to_learn(qwen: Tokenizer) -> None:
    text, ledger = encode(qwen, row(ASK, CALL, tools=TOOLS))
    assert trained_parts(text) == [WRITTEN]
    assert text.startswith('<|im_start|>system\nTools:\n{"type": "function"')
    assert ledger.eos_trained[0]


def test_calls_on_the_way_are_trained_and_what_tools_say_is_not(qwen: Tokenizer) -> None:
    text, ledger = encode(qwen, row(ASK, CALL, TOLD, ANSWER, tools=TOOLS))
    assert trained_parts(text) == [WRITTEN, "It rains.<|im_end|>"]
    assert "<tool_response>rain</tool_response>" in text
    assert (ledger.answers[0], ledger.trained_answers[0]) == (2, 2)


def test_the_prompt_is_what_transformers_makes_of_the_same_turns(qwen: Tokenizer) -> None:
    (line,) = encode_rows(
        qwen,
        {name: [value] for name, value in row(ASK, CALL, TOLD, ANSWER, tools=TOOLS).items()},
        TokenizationSettings(),
    )
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    spelled = {"role": "assistant", "content": None, "tool_calls": [{"function": call}]}
    theirs = qwen.hf.apply_chat_template(
        [ASK, spelled, TOLD], tools=TOOLS, add_generation_prompt=True, return_dict=False
    )
    assert line.head == theirs


LOST = {
    "no calls": (CHATML, row(ASK, {**CALL, "content": "Let me see."}), "the call of 'weather'"),
    "no tools": (CHATML, row(ASK, ANSWER, tools=TOOLS), "the tool 'weather'"),
    "no thought": (
        CHATML,
        row(ASK, {**ANSWER, "reasoning_content": "Look out."}),
        "the reasoning_content of the last turn",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_a_template_that_leaves_something_out_is_refused_with_the_row(
    make: Make, name: str
) -> None:
    template, one, lost = LOST[name]
    said = rf"a.jsonl:7: the base model's chat template leaves out {lost}"
    with pytest.raises(ModelError, match=said) as error:
        encode(make(template, "<|im_start|>", "<|im_end|>", []), one)
    assert "leave such rows out" in str(error.value.fix)


def test_a_template_that_needs_text_is_refused_with_the_row(make: Make) -> None:
    with pytest.raises(ModelError, match=r"a.jsonl:7: the chat template refuses this conversation"):
        encode(make(CHATML, "<|im_start|>", "<|im_end|>", []), row(ASK, CALL, TOLD, ANSWER))


def test_a_thought_is_trained_with_its_answer(make: Make) -> None:
    tokenizer = make(THINKING, "<|im_start|>", "<|im_end|>", [])
    text, _ = encode(tokenizer, row(ASK, {**ANSWER, "reasoning_content": "Look out."}))
    assert trained_parts(text) == ["<think>Look out.</think>It rains.<|im_end|>"]


def test_an_answer_of_weight_0_is_read_and_not_trained(make: Make) -> None:
    tokenizer = make(CHATML, "<|im_start|>", "<|im_end|>", [])
    turns = (
        ASK,
        {**ANSWER, "weight": 0},
        ASK,
        {"role": "assistant", "content": "No.", "weight": 1},
    )
    text, ledger = encode(tokenizer, row(*turns))
    assert trained_parts(text) == ["No.<|im_end|>"]
    assert "It rains.<|im_end|>" in text
    assert (ledger.answers[0], ledger.trained_answers[0], ledger.rewritten[0]) == (2, 1, 0)
    with pytest.raises(ModelError, match=r"a.jsonl:7: an answer with weight 0 would be trained"):
        encode(tokenizer, row(*turns), assistant_only_loss=False)
