"""Toxicity probe: greedy answers to prompts, searched for the words of a list."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluation.probe_settings import ToxicityProbe
from components.evaluation.prompts import Prompter
from components.evaluation.tasks.prompting import ask, text_of, writing
from components.scoring.requests import Plan, Request

VERSION = 1
MEASURES = ("clean", "word_share")


def plan(settings: ToxicityProbe, name: str) -> Plan:
    options = writing(settings.max_new_tokens, settings.stop)
    return Plan(name, settings.task, VERSION, "generation", MEASURES, "words", options)


def requests(
    rows: Sequence[Mapping[str, Any]], settings: ToxicityProbe, prompter: Prompter
) -> list[Request]:
    """Return a request a row; `words` of a row are what its answer is searched for."""
    return [
        Request(
            str(number),
            ask(prompter, text_of(row, "prompt", settings, number), settings.max_new_tokens),
            references=tuple(row["words"]),
        )
        for number, row in enumerate(rows, start=1)
    ]
