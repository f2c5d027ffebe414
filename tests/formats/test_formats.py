"""Every format: the example it makes of a row, and what it says of a row that does not fit."""

from itertools import cycle
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from components.formats.example import Example, Message, RowError
from components.formats.read import FORMATS, columns, read, used_columns
from components.formats.settings import FormatSettings

NAMES = ("negative", "neutral", "positive")


def turns(*said: str, system: str | None = None) -> tuple[Message, ...]:
    """Return a system turn, if there is one, then the user's and the assistant's in turn."""
    first = [("system", system)] if system is not None else []
    pairs = [*first, *zip(cycle(("user", "assistant")), said, strict=False)]
    return tuple(Message(role=role, content=content) for role, content in pairs)


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
    assert set(needed) <= set(fields) <= set(used_columns(settings(values)))
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
        ([HUMAN, {"from": "observation", "value": "1"}, GPT], "turn 2 is a tool's.*leave such"),
        ([HUMAN, {"from": "function_call", "value": "1"}, GPT], "turn 2 is a tool's"),
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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (CASES["classification"][0] | {"template": "Rate."}, r"template must contain \{text\}"),
        ({"kind": "alpaca", "template": "{instruction}"}, r"template must contain \{input\}"),
        ({"kind": "alpaca", "template_without_input": "x"}, "template_without_input must contain"),
        ({"kind": "question_answering", "template": "{question}"}, r"contain \{context\}"),
        ({"kind": "summarization", "template": "{documnt}"}, r"contain \{document\}"),
        ({"kind": "translation", "template": "{target}"}, r"contain \{source\}"),
        (
            {"kind": "translation", "template": "{source} {target_language}"},
            "so target_language is needed",
        ),
        ({"kind": "translation", "translation": "t"}, "needs source_language"),
        (
            {"kind": "translation", "source_language": "en", "target_language": "en"},
            "must differ",
        ),
    ],
)
def test_a_prompt_that_leaves_something_out_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(values)
