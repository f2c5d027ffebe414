"""Every format: the example it makes of a row, and what it says of a missing column."""

from typing import Any

import pytest
from made_examples import NAMES, settings, turns

from components.formats.example import Example, RowError
from components.formats.read import FORMATS, columns, read, used_columns

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Example]] = {
    "alpaca": (
        {"kind": "alpaca", "system": "Be brief.", "history": "before"},
        {"instruction": "Add {input}.", "input": "2, 3", "output": "5", "before": [["hi", "ho"]]},
        Example(
            turns("hi", "ho", "Add {input}.\n2, 3", "5", system="Be brief."),
            "5",
            (),
            -1,
            "hi\nho\nAdd {input}.\n2, 3\n5",
        ),
    ),
    "classification": (
        {
            "kind": "classification",
            "label": {"column": "label", "names": NAMES},
            "system": "One word.",
            "template": "Message: {text} {not a field}",
        },
        {"text": "so {good}", "label": "positive"},
        Example(
            (
                {"role": "system", "content": "One word."},
                {"role": "user", "content": "Message: so {good} {not a field}"},
                {"role": "assistant", "content": "positive"},
            ),
            "positive",
            NAMES,
            2,
            "so {good}",
        ),
    ),
    "messages": (
        {"kind": "messages"},
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello", "name": "bot"},
            ]
        },
        Example(
            ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}),
            "hello",
            (),
            -1,
            "hi\nhello",
        ),
    ),
    "preference": (
        {"kind": "preference", "system": "Be kind."},
        {"prompt": "Hello", "chosen": "Hello!", "rejected": "What?"},
        Example(
            turns("Hello", "Hello!", system="Be kind."),
            "Hello!",
            (),
            -1,
            "Hello\nHello!",
            rejected="What?",
        ),
    ),
    "prompt_completion": (
        {"kind": "prompt_completion", "prompt": "question", "completion": "reply"},
        {"question": "2+2?", "reply": "4"},
        Example(
            ({"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}),
            "4",
            (),
            -1,
            "2+2?\n4",
        ),
    ),
    "question_answering": (
        {"kind": "question_answering", "template": "{context} Q: {question} A:"},
        {"question": "Who?", "context": "{question} Ann.", "answers": {"text": ["Ann", "Ann."]}},
        Example(
            turns("{question} Ann. Q: Who? A:", "Ann"),
            "Ann",
            (),
            -1,
            "{question} Ann.\nWho?\nAnn",
            references=("Ann", "Ann."),
        ),
    ),
    "sharegpt": (
        {"kind": "sharegpt"},
        {
            "conversations": [
                {"from": "human", "value": "a"},
                {"from": "gpt", "value": "b", "weight": 1},
                {"from": "user", "value": "c"},
                {"from": "assistant", "value": "d"},
            ],
        },
        Example(turns("a", "b", "c", "d"), "d", (), -1, "a\nb\nc\nd"),
    ),
    "summarization": (
        {"kind": "summarization", "document": "article", "template": "TL;DR: {document}"},
        {"article": "long", "summary": "short"},
        Example(turns("TL;DR: long", "short"), "short", (), -1, "long\nshort"),
    ),
    "text": ({"kind": "text"}, {"text": "all of it"}, Example((), "", (), -1, "all of it")),
    "translation": (
        {
            "kind": "translation",
            "translation": "translation",
            "source_language": "de",
            "target_language": "en",
        },
        {"translation": {"en": "tea", "de": "Tee"}},
        Example(
            turns("Translate from German to English:\n\nTee", "tea"), "tea", (), -1, "Tee\ntea"
        ),
    ),
}


def test_every_format_has_a_case() -> None:
    assert set(CASES) == set(FORMATS)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_row_becomes_the_example(kind: str) -> None:
    values, fields, example = CASES[kind]
    assert read(fields, settings(values)) == example


@pytest.mark.parametrize("kind", sorted(CASES))
def test_each_needed_column_is_missed(kind: str) -> None:
    values, fields, _ = CASES[kind]
    needed = columns(settings(values))
    assert set(needed) <= set(fields) <= set(used_columns(settings(values)))
    for name in needed:
        renamed = {f"{name}s" if key == name else key: value for key, value in fields.items()}
        with pytest.raises(RowError, match=f"no column '{name}'; did you mean '{name}s'") as error:
            read(renamed, settings(values))
        assert error.value.kind == "column"
        with pytest.raises(RowError, match=f"column '{name}' is null") as error:
            read({**fields, name: None}, settings(values))
        assert error.value.kind == "null"


def test_what_both_conversations_begin_with_is_the_prompt() -> None:
    shared = [*turns("a", "b", "c")]
    row = {
        "chosen": [*shared, {"role": "assistant", "content": "good"}],
        "rejected": [*shared, {"role": "assistant", "content": "bad"}],
    }
    example = read(row, settings({"kind": "preference"}))
    assert example.messages == turns("a", "b", "c", "good")
    assert (example.answer, example.rejected) == ("good", "bad")
    assert read({**row, "prompt": "c"}, settings({"kind": "preference"})) == example


def test_a_rows_own_system_turn_goes_before_the_recipes() -> None:
    for kind, row in [
        ("alpaca", {"instruction": "a", "output": "b"}),
        ("prompt_completion", {"prompt": "a", "completion": "b"}),
        ("preference", {"prompt": "a", "chosen": "b", "rejected": "c"}),
    ]:
        form = settings({"kind": kind, "system": "fixed", "system_column": "s"})
        assert read(row, form).messages == turns("a", "b", system="fixed")
        assert read({**row, "s": None}, form).messages == turns("a", "b", system="fixed")
        assert read({**row, "s": "own"}, form).messages == turns("a", "b", system="own")
        assert read({**row, "s": "own"}, form).text == "a\nb"


def test_an_answer_for_questions_without_one() -> None:
    form = settings({"kind": "question_answering", "no_answer": "unknown"})
    example = read({"question": "q", "context": "c", "answers": {"text": []}}, form)
    assert (example.answer, example.references) == ("unknown", ("unknown",))


def test_the_translation_prompt_names_what_is_known() -> None:
    row = {"source": "tea", "target": "Tee"}
    said = {
        (): "Translate:\n\ntea",
        (("target_language", "de"),): "Translate to German:\n\ntea",
        (("source_language", "tlh"), ("target_language", "de")): (
            "Translate from tlh to German:\n\ntea"
        ),
    }
    for languages, prompt in said.items():
        example = read(row, settings({"kind": "translation", **dict(languages)}))
        assert example.messages[0]["content"] == prompt
