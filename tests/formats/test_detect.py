"""`kind: auto`: every kind told by its columns, and what is said when they do not tell it."""

import json
from pathlib import Path
from typing import Any

import pytest
from odd_rows import rows
from pydantic import TypeAdapter

from components.contracts.errors import DataError
from components.contracts.kinds import Raw
from components.formats.detect import SAMPLE, resolve, resolve_for, sample
from components.formats.read import FORMATS, columns, read
from components.formats.rules import RULES, SAYS
from components.formats.settings import AutoSettings, FormatSettings, TextSettings

AUTO = AutoSettings(kind="auto")
TURNS = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
SHARES = [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]
LABELS = [{"text": f"row {n}", "label": ("good", "bad")[n % 2]} for n in range(8)]


def told(*found: dict[str, Any]) -> FormatSettings:
    names = list(dict.fromkeys(name for row in found for name in row))
    return resolve(AUTO, names, found)


def settings(**values: Any) -> Any:
    return TypeAdapter(FormatSettings).validate_python(values)


BARE = {"input": None, "history": None, "system_column": None}

PUBLIC: list[tuple[dict[str, Any], Any]] = [
    (
        dict.fromkeys(["instruction", "input", "output", "text"], "x"),
        settings(kind="alpaca", **{**BARE, "input": "input"}),
    ),
    (
        dict.fromkeys(["instruction", "context", "response", "category"], "x"),
        settings(kind="alpaca", **{**BARE, "input": "context"}, output="response"),
    ),
    (
        {"id": 1, "title": "x", "context": "x", "question": "x", "answers": {"text": ["x"]}},
        settings(kind="question_answering"),
    ),
    (
        {"question": "x", "answer": "x"},
        settings(kind="question_answering", context=None, answers="answer"),
    ),
    ({"document": "x", "summary": "x", "id": "1"}, settings(kind="summarization")),
    (
        {"article": "x", "highlights": "x", "id": "1"},
        settings(kind="summarization", document="article", summary="highlights"),
    ),
    (
        {"text": "x", "summary": "x", "title": "x"},
        settings(kind="summarization", document="text"),
    ),
    ({"source": "x", "target": "x"}, settings(kind="translation")),
    ({"prompt": "x", "prompt_id": "x", "messages": TURNS}, settings(kind="messages", tools=None)),
    ({"conversations": TURNS}, settings(kind="messages", messages="conversations", tools=None)),
    (
        {"id": "1", "conversations": SHARES, "system": "x"},
        settings(kind="sharegpt", tools=None),
    ),
    (
        {"messages": SHARES},
        settings(kind="sharegpt", conversations="messages", system_column=None, tools=None),
    ),
    (
        {"prompt": "x", "chosen": TURNS, "rejected": TURNS, "messages": TURNS, "score_chosen": 1},
        settings(kind="preference"),
    ),
    ({"chosen": TURNS, "rejected": TURNS}, settings(kind="preference", prompt=None)),
    (
        {"system": "x", "question": "x", "chosen": "x", "rejected": "x"},
        settings(kind="preference", prompt="question", system_column="system"),
    ),
    ({"prompt": "x", "completion": "x"}, settings(kind="prompt_completion")),
    ({"prompt": TURNS[:1], "completion": TURNS[1:]}, settings(kind="prompt_completion")),
    (
        {"query": "x", "response": "x"},
        settings(kind="prompt_completion", prompt="query", completion="response"),
    ),
    ({"text": "x", "meta": {"source": "x"}}, settings(kind="text")),
    ({"content": "x", "url": "x"}, settings(kind="text", text="content")),
]


@pytest.mark.parametrize(("row", "expected"), PUBLIC)
def test_the_columns_of_well_known_sets_tell_their_kind(
    row: dict[str, Any], expected: FormatSettings
) -> None:
    assert told(row) == expected


def test_every_kind_can_be_told() -> None:
    assert {rule.kind for rule in RULES} == set(FORMATS)
    assert {c.holds for r in RULES for c in (*r.needs.values(), *r.takes.values())} <= set(SAYS)


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {"classification", "translation"}))
def test_a_row_reads_the_same_when_its_kind_is_told_by_itself(kind: str) -> None:
    """For rows with the columns' usual names and no settings of their own."""
    plain = [row for values, row in rows(kind) if set(values) == {"kind"}]
    assert plain
    for row in plain:
        assert read(row, told(row)) == read(row, settings(kind=kind))


def test_what_is_named_in_the_recipe_is_not_looked_into() -> None:
    named = TextSettings(kind="text", text="prompt")
    assert resolve(named, ["prompt", "completion"], []) is named


def test_labels_that_leave_no_doubt_are_taken() -> None:
    assert told(*LABELS) == settings(
        kind="classification", label={"column": "label", "names": ["bad", "good"]}
    )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1] * 4, r"numbers, which are no words .* \(0, 1\)"),
        (["0.5", "-1"] * 4, "numbers"),
        (["good"] * 7 + ["godo"], r"seen once \(godo, good\)"),
        (["good"] * 8, r"one value only \(good\)"),
        ([f"label {n // 2}" for n in range(60)], "too many values"),
    ],
)
def test_doubtful_labels_must_be_named(labels: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        told(*[{"text": "x", "label": label} for label in labels])
    assert "format: {kind: classification, text: text, label: {column: label" in str(error.value)


def test_the_direction_of_a_translation_must_be_named() -> None:
    with pytest.raises(DataError, match="holds en and de, but") as error:
        told({"translation": {"en": "tea", "de": "Tee"}})
    assert error.value.fix is not None
    assert "translation: translation, source_language: en, target_language: de" in error.value.fix


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "x", "completion": "x", "messages": TURNS},
        {"text": "x", "summary": "x", "label": "x"},
        {"question": "x", "answer": "x", "prompt": "x", "completion": "x"},
        {"messages": TURNS, "conversations": SHARES},
    ],
)
def test_columns_of_two_kinds_are_ambiguous(row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="fit more than one kind") as error:
        told(row)
    assert ", ".join(row) in str(error.value)
    assert "name the kind" in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"promt": "x", "completion": "x"}, "nearest is prompt_completion: did you mean 'promt'"),
        ({"text": 7}, "nearest is text: column 'text' (it must hold: text)"),
        ({"messages": "hi"}, "column 'messages' (it must hold: list of {role, content})"),
        ({"document": "x"}, "nearest is summarization: column 'document' (it must hold: text); no"),
        ({"a": "x", "b": "x"}, "format: {kind: text, text: COLUMN}"),
        ({}, "format: {kind: text, text: COLUMN}"),
    ],
)
def test_unknown_columns_list_what_each_kind_needs(row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match="no kind of rows fits the columns") as error:
        told(row)
    message = str(error.value)
    assert said in message
    assert all(f"    {kind}: " in message for kind in FORMATS)
    assert ", ".join(row) in message


def test_single_wrong_rows_do_not_hide_the_kind() -> None:
    found = [{"prompt": "x", "completion": "x"}] * 5 + [{"prompt": None, "completion": 7}]
    assert told(*found).kind == "prompt_completion"


def test_the_sample_is_spread_over_the_whole_source(tmp_path: Path) -> None:
    count = 3 * SAMPLE + 1
    with Raw.write(tmp_path / "raw") as draft:
        lines = [
            {
                "source": "x",
                "row": n,
                "fields": {"text": "x", "label": "ab"[2 * n // count], "n": n},
            }
            for n in range(count)
        ]
        (draft.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
        draft.facts = {"rows": count, "columns": ["text", "label", "n"]}
    raw = Raw.open(tmp_path / "raw")
    taken = [fields["n"] for fields in sample(raw)]
    assert taken == list(range(0, count, 4))
    form = resolve_for(raw, AUTO)
    assert columns(form) == ("text", "label")
    assert form == settings(kind="classification", label={"column": "label", "names": ["a", "b"]})
