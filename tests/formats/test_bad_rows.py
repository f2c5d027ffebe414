"""Rows that do not fit their format, and what is said of them."""

from typing import Any

import pytest
from made_examples import settings

from components.formats.example import RowError
from components.formats.read import read

USER, BOT = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
HUMAN, GPT = {"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}

BAD_ROWS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"kind": "messages"}, {"messages": said}, text)
    for said, text in [
        ("hi", "column 'messages' must hold a list of turns, not 'hi'"),
        ([], r"must hold a list of turns, not \[\]"),
        ([{"role": "user"}], "turn 1 must have role and content"),
        ([USER, {"role": "asistant", "content": "y"}], "turn 2 .*did you mean 'assistant'"),
        ([{"role": "user", "content": 7}], "turn 1 has no text"),
        ([USER, BOT, USER], "the last turn is the user's"),
    ]
]
BAD_ROWS += [
    ({"kind": "sharegpt"}, {"conversations": said}, text)
    for said, text in [
        ("hi", "column 'conversations' must hold a list of turns"),
        ([HUMAN, {"value": "y"}], "turn 2 must have from and value"),
        ([{"from": "humn", "value": "x"}, GPT], "turn 1 is from 'humn'; did you mean 'human'"),
        ([HUMAN, {"from": "gpt", "value": None}], "turn 2 has no text"),
        ([HUMAN, GPT, HUMAN], "the last turn is the user's"),
        ([HUMAN, {"from": "observation", "value": "1"}], "the last turn is the tool's"),
        ([HUMAN, {"from": "function_call", "value": "1"}, GPT], "turn 2, call 1 must be a func"),
        ([HUMAN, {"from": "function_call", "value": "hm {"}], "turn 2, call 1 must be a function"),
        ([HUMAN, {"from": "function_call", "value": "[]"}, GPT], "turn 2 calls nothing"),
    ]
]
BAD_ROWS += [
    ({"kind": "alpaca"}, {"instruction": "a", "output": "b", **more}, text)
    for more, text in [
        ({"input": 3}, "column 'input' holds int, not text"),
        ({"history": "hi"}, r"column 'history' must hold a list of \[instruction, output\] pairs"),
        ({"history": [["a", "b"], ["a"]]}, r"'history', pair 2 must be \[instruction, output\]"),
        ({"history": [["a", None]]}, "'history', pair 1 holds NoneType, not text"),
    ]
]
BAD_ROWS += [
    ({"kind": "question_answering"}, {"question": "a", "context": "b", "answers": found}, text)
    for found, text in [
        (7, "column 'answers' must hold a text, a list of texts or {'text': .*, not 7"),
        (["a", 1], "must hold a text"),
        ({"answer": "a"}, "must hold a text"),
        ([], "column 'answers' accepts no answer; .*format.no_answer"),
        ({"text": []}, "accepts no answer"),
    ]
]
BAD_ROWS += [
    ({"kind": "preference"}, row, text)
    for row, text in [
        ({"chosen": "a", "rejected": "b"}, "there is no prompt: column 'prompt' is missing"),
        ({"chosen": [BOT], "rejected": [{**BOT, "content": "z"}]}, "there is no prompt"),
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "the same answer: 'a'"),
        ({"chosen": [USER, BOT], "rejected": [USER, BOT]}, "the same answer: 'y'"),
        (
            {"chosen": [USER, BOT, USER, BOT], "rejected": [USER, {**BOT, "content": "z"}]},
            "column 'chosen' goes on for 3 turns",
        ),
        (
            {"prompt": "z", "chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "z"}]},
            "column 'prompt' holds 'z', but chosen and rejected begin with 'x'",
        ),
        ({"prompt": "x", "chosen": [USER], "rejected": "a"}, "the last turn is the user's"),
        ({"prompt": "x", "chosen": 1, "rejected": "a"}, "column 'chosen' holds int, not text"),
    ]
]
LANGUAGES = {"source_language": "en", "target_language": "de", "translation": "t"}
BAD_ROWS += [
    ({"kind": "translation", **LANGUAGES}, {"t": "tea"}, "must hold a text a language, not 'tea'"),
    (
        {"kind": "translation", **LANGUAGES},
        {"t": {"en": "tea", "fr": "thé"}},
        r"column 't' has no text in 'de' \(languages: en, fr\)",
    ),
    (
        {"kind": "prompt_completion"},
        {"prompt": "a", "completion": [BOT, USER, BOT]},
        "column 'completion' holds 3 turns",
    ),
    ({"kind": "summarization"}, {"document": ["a"], "summary": "b"}, "holds list, not text"),
]


@pytest.mark.parametrize(("values", "fields", "said"), BAD_ROWS)
def test_a_bad_row_says_what_is_wrong(
    values: dict[str, Any], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(RowError, match=said) as error:
        read(fields, settings(values))
    assert error.value.kind == "value"
