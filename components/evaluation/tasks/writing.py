"""What all tasks with a free answer have in common."""

from collections.abc import Sequence

from components.contracts.errors import DataError
from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row
from components.evaluation.settings import WritingTask
from components.scoring.requests import Plan, Request


def make_plan(
    settings: WritingTask, name: str, version: int, measures: tuple[str, ...], marker: str
) -> Plan:
    """Return the plan of a task that marks a free answer by `marker`."""
    options = {
        "max_new_tokens": settings.max_new_tokens,
        "stop": list(settings.stop),
        "extract": settings.extract,
    }
    return Plan(name, settings.task, version, "generation", measures, marker, options)


def requests(rows: Sequence[Row], settings: WritingTask, prompter: Prompter) -> list[Request]:
    """Return a request a row; raise `DataError` naming a row without an answer."""
    for row in rows:
        if not row.turns or not row.references:
            raise DataError(
                f"row {row.id} has no question with an answer",
                fix="use a format with answers, or the perplexity task for plain text",
            )
    return [
        Request(row.id, prompter.ask(row, settings.max_new_tokens), references=row.references)
        for row in rows
    ]
