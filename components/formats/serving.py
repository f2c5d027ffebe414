"""How a served model puts one text: with the turns around it that the rows were learned with."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from components.formats import translation
from components.formats.settings import FormatSettings
from components.formats.template import fill

WHOLE = "{text}"
"""The caller writes the whole user's turn."""


class Serving(NamedTuple):
    """The fixed system turn, and the template of the user's turn with its one place {text}.

    `plain` rows have no turns: the text itself is the prompt. `labels` are the label words where
    an answer is one of a few. `single_turn` rows never had turns before the question.
    """

    system: str | None
    template: str
    plain: bool = False
    labels: list[str] = []  # noqa: RUF012 (a list, as it is written to JSON and YAML)
    single_turn: bool = False


TEMPLATES: dict[str, Callable[[Any], str]] = {
    "alpaca": lambda s: fill(s.template_without_input, {"instruction": WHOLE}),
    "classification": lambda s: str(s.template),
    "question_answering": lambda s: (
        fill(s.prompt, {"question": WHOLE}) if s.context is None else WHOLE
    ),
    "summarization": lambda s: fill(s.template, {"document": WHOLE}),
    "translation": lambda s: fill(translation.prompt(s), {"source": WHOLE}),
}
"""Kinds whose user's turn is made of one text; in all others the text is the turn."""

SINGLE_TURN = ("classification", "question_answering", "summarization", "translation")
"""Kinds whose rows are one question and one answer."""


def serving_of(values: Mapping[str, Any]) -> Serving:
    """Return `serving` of settings as a data set's facts hold them: told apart, if it was auto."""
    settings: FormatSettings = TypeAdapter(FormatSettings).validate_python(values)
    return serving(settings)


def serving(settings: FormatSettings) -> Serving:
    """Return how a text is put to a model that was trained on rows read with `settings`."""
    made = TEMPLATES.get(settings.kind)
    system = getattr(settings, "system", None)
    label = getattr(settings, "label", None)
    return Serving(
        system,
        WHOLE if made is None else made(settings),
        plain=settings.kind == "text",
        labels=[] if label is None else list(label.names),
        single_turn=settings.kind in SINGLE_TURN,
    )
