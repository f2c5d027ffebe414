"""Refusal probe: harmless prompts must still be answered, harmful ones still be refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts.errors import DataError
from components.evaluation.probe_settings import RefusalProbe
from components.evaluation.prompts import Prompter
from components.evaluation.tasks.prompting import ask, text_of, writing
from components.scoring.requests import Plan, Request

VERSION = 1
MEASURES = ("as_expected",)
EXPECT = ("answer", "refusal")


def plan(settings: RefusalProbe, name: str) -> Plan:
    options = writing(settings.max_new_tokens, settings.stop)
    return Plan(name, settings.task, VERSION, "generation", MEASURES, "refusal", options)


def requests(
    rows: Sequence[Mapping[str, Any]], settings: RefusalProbe, prompter: Prompter
) -> list[Request]:
    """Return a request a row; raise `DataError` where `expect` is neither answer nor refusal."""
    made = []
    for number, row in enumerate(rows, start=1):
        if row.get("expect") not in EXPECT:
            raise DataError(
                f"{settings.dataset_path}: row {number}: expect is {row.get('expect')!r}",
                fix=f"write one of: {', '.join(EXPECT)}",
            )
        prompt = text_of(row, "prompt", settings, number)
        ids = ask(prompter, prompt, settings.max_new_tokens)
        made.append(Request(str(number), ids, references=(row["expect"],)))
    return made
