"""Every format: the example it makes of a row, and what it says of a row that does not fit."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from components.formats.example import Example, RowError
from components.formats.read import FORMATS, columns, read
from components.formats.settings import FormatSettings

NAMES = ("negative", "neutral", "positive")

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Example]] = {
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
    "text": ({"kind": "text"}, {"text": "all of it"}, Example((), "", (), -1, "all of it")),
}


def settings(values: dict[str, Any]) -> Any:
    return TypeAdapter(FormatSettings).validate_python(values)


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
    assert set(needed) == set(fields)
    for name in needed:
        renamed = {f"{name}s" if key == name else key: value for key, value in fields.items()}
        with pytest.raises(RowError, match=f"no column '{name}'; did you mean '{name}s'") as error:
            read(renamed, settings(values))
        assert error.value.kind == "column"
        with pytest.raises(RowError, match=f"column '{name}' is null") as error:
            read({**fields, name: None}, settings(values))
        assert error.value.kind == "null"


@pytest.mark.parametrize(
    ("rating", "label"),
    [
        ("-4", "negative"),
        ("-0.51", "negative"),
        ("-0.5", "neutral"),
        (0, "neutral"),
        (0.5, "neutral"),
        ("0.500001", "positive"),
        (4.0, "positive"),
    ],
)
def test_ratings_fall_into_bins(rating: Any, label: str) -> None:
    bins = {"column": "rating", "bins": [-0.5, 0.5], "names": NAMES}
    example = read(
        {"text": "x", "rating": rating}, settings({"kind": "classification", "label": bins})
    )
    assert (example.answer, example.choices[example.target]) == (label, label)


@pytest.mark.parametrize("rating", ["much", "", "nan", "inf", True])
def test_a_rating_must_be_a_number(rating: Any) -> None:
    bins = {"column": "rating", "bins": [0], "names": ["low", "high"]}
    with pytest.raises(RowError, match="not a number") as error:
        read({"text": "x", "rating": rating}, settings({"kind": "classification", "label": bins}))
    assert error.value.kind == "label"


def test_an_unknown_label_lists_the_known_ones() -> None:
    known = settings({"kind": "classification", "label": {"column": "label", "names": NAMES}})
    with pytest.raises(RowError) as error:
        read({"text": "x", "label": "positiv"}, known)
    assert error.value.kind == "label"
    assert error.value.value == "positiv"
    assert "did you mean 'positive'?" in str(error.value)
    assert "negative, neutral, positive" in str(error.value)


def test_label_values_are_translated() -> None:
    label = {"column": "label", "names": ["no", "yes"], "values": {0: "no", 1: "yes"}}
    spam = settings({"kind": "classification", "label": label})
    assert read({"text": "x", "label": 1}, spam).answer == "yes"
    assert read({"text": "x", "label": "0"}, spam).answer == "no"
    with pytest.raises(RowError, match="label 2 in column 'label' is not known"):
        read({"text": "x", "label": 2}, spam)


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ("hi", "must hold a list of turns"),
        ([], "must hold a list of turns"),
        ([{"role": "user"}], "turn 1 must have role and content"),
        (
            [{"role": "user", "content": "x"}, {"role": "asistant", "content": "y"}],
            "turn 2 .*did you",
        ),
        ([{"role": "user", "content": 7}], "turn 1 has no text"),
        ([{"role": "user", "content": "x"}], "the last turn is the user's"),
    ],
)
def test_a_bad_conversation_names_the_turn(turns: Any, said: str) -> None:
    with pytest.raises(RowError, match=said) as error:
        read({"messages": turns}, settings({"kind": "messages"}))
    assert error.value.kind == "value"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"column": "r", "names": ["a", "b"], "bins": [0, 1]}, "2 names need 1 bins"),
        ({"column": "r", "names": ["a", "b", "c"], "bins": [1, 0]}, "bins must rise"),
        ({"column": "r", "names": ["a", "a"]}, "differ"),
        ({"column": "r", "names": ["a", "b"], "values": {"0": "c"}}, "not in names"),
    ],
)
def test_settings_that_cannot_work_are_refused(label: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings({"kind": "classification", "label": label})


def test_a_template_must_use_the_text() -> None:
    values = CASES["classification"][0] | {"template": "Rate this."}
    with pytest.raises(ValidationError, match="must contain"):
        settings(values)
