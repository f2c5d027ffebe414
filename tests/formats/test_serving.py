"""A served model must be given what the rows gave it: the turns before the answer."""

from typing import Any

import pytest
from odd_rows import rows
from pydantic import TypeAdapter

from components.formats.read import FORMATS, read
from components.formats.serving import serving
from components.formats.settings import FormatSettings


def settings(values: dict[str, Any]) -> Any:
    return TypeAdapter(FormatSettings).validate_python(values)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_the_text_has_its_place(kind: str) -> None:
    for values, _ in rows(kind):
        assert "{text}" in serving(settings(values)).template


@pytest.mark.parametrize(
    ("values", "row", "text"),
    [
        (
            {"kind": "classification", "template": "Rate: {text}", "system": "One word."}
            | {"label": {"column": "l", "names": ["a", "b"]}},
            {"text": "so good", "l": "a"},
            "so good",
        ),
        ({"kind": "alpaca", "system": "Brief."}, {"instruction": "Add.", "output": "5"}, "Add."),
        ({"kind": "summarization"}, {"document": "long", "summary": "short"}, "long"),
        (
            {"kind": "translation", "source_language": "en", "target_language": "de"},
            {"source": "tea", "target": "Tee"},
            "tea",
        ),
        (
            {"kind": "question_answering", "context": None, "template": "Q: {question}"},
            {"question": "why?", "answers": "so"},
            "why?",
        ),
        (
            {"kind": "question_answering"},
            {"question": "q", "context": "c", "answers": "a"},
            "c\n\nq",
        ),
        ({"kind": "prompt_completion", "system": "s"}, {"prompt": "p", "completion": "c"}, "p"),
    ],
)
def test_it_makes_the_turns_of_the_row(
    values: dict[str, Any], row: dict[str, Any], text: str
) -> None:
    form = settings(values)
    system, template, *_ = serving(form)
    asked = [] if system is None else [{"role": "system", "content": system}]
    asked.append({"role": "user", "content": template.replace("{text}", text)})
    assert asked == list(read(row, form).messages[:-1])
