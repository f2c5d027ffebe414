"""Label choice: which of a row's choices is the likeliest behind its prompt."""

from collections.abc import Sequence

from components.contracts.errors import DataError
from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row
from components.evaluation.settings import ChoiceTask
from components.scoring.requests import Plan, Request

VERSION = 1
MEASURES = ("acc", "acc_norm", "acc_bytes")


def plan(settings: ChoiceTask, name: str) -> Plan:
    return Plan(name, settings.task, VERSION, "choice", MEASURES)


def requests(rows: Sequence[Row], settings: ChoiceTask, prompter: Prompter) -> list[Request]:
    """Return a request a row; raise `DataError` naming a row without choices."""
    del settings
    return [_request(row, prompter) for row in rows]


def _request(row: Row, prompter: Prompter) -> Request:
    if not row.choices or not 0 <= row.target < len(row.choices):
        raise DataError(
            f"row {row.id} has no choices with a right one among them",
            fix="use the generation task for free answers, or a format with labels",
        )
    prompt, choices = prompter.choices(row)
    return Request(
        row.id,
        prompt,
        choices=choices,
        choice_characters=tuple(map(len, row.choices)),
        choice_bytes=tuple(len(word.encode()) for word in row.choices),
        target=row.target,
    )
