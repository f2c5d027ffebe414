"""A question, perhaps about a context, and all its accepted answers (SQuAD's columns)."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import (
    Example,
    Fields,
    Message,
    RowError,
    column,
    system_turn,
    text_column,
)
from components.formats.settings import QuestionAnsweringSettings
from components.formats.template import fill, unfill
from components.formats.turns import shown


def read(fields: Fields, settings: QuestionAnsweringSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column or no answer.

    `answer` is the first accepted one, `references` are all of them, each once. `text` is context,
    question and answer.
    """
    values = {name: text_column(fields, place) for name, place in _places(settings).items()}
    references = _answers(fields, settings)
    messages = (
        *system_turn(settings.system),
        Message(role="user", content=fill(settings.prompt, values)),
        Message(role="assistant", content=references[0]),
    )
    text = "\n".join([*values.values(), references[0]])
    return Example(messages, references[0], (), -1, text, references=references)


def write(example: Example, settings: QuestionAnsweringSettings) -> Iterator[dict[str, Any]]:
    """Yield rows that may read as `example`."""
    places = _places(settings)
    prompt = example.messages[-2]["content"]
    for values in unfill(settings.prompt, list(places), prompt):
        row: dict[str, Any] = {place: values[name] for name, place in places.items()}
        yield {**row, settings.answers: list(example.references)}


def columns(settings: QuestionAnsweringSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (*_places(settings).values(), settings.answers)


def optional(settings: QuestionAnsweringSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    del settings
    return ()


def _places(settings: QuestionAnsweringSettings) -> dict[str, str]:
    """Map the names in the template to columns, in the order of the row's own text."""
    context = {} if settings.context is None else {"context": settings.context}
    return {**context, "question": settings.question}


def texts_in(value: Any) -> list[str] | None:
    """Return the accepted answers in any of the shapes they come in; None if it is none of them."""
    if isinstance(value, dict):  # SQuAD's; where the answer starts in the context is not used
        value = value.get("text")
    found = value if isinstance(value, list) else [value]
    texts: list[Any] = [one.get("text") if isinstance(one, dict) else one for one in found]
    return texts if all(isinstance(text, str) for text in texts) else None


def _answers(fields: Fields, settings: QuestionAnsweringSettings) -> tuple[str, ...]:
    name = settings.answers
    value = column(fields, name)
    texts = texts_in(value)
    if texts is None:
        raise RowError(
            "value",
            f"column '{name}' must hold a text, a list of texts or {{'text': […]}}, "
            f"not {shown(value)}",
            value,
        )
    if texts:
        return tuple(dict.fromkeys(texts))
    if settings.no_answer is None:
        raise RowError(
            "value",
            f"column '{name}' accepts no answer; say what to learn then in format.no_answer",
            value,
        )
    return (settings.no_answer,)
