"""Questions that bring their own choices: {"question": …, "choices": […], "answer": index}."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts.errors import DataError
from components.evaluation.rows import Row

COLUMNS = {"question", "choices", "answer"}


def has_choices(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a file's rows bring their own choices, by the columns of the first."""
    return set(rows[0]) >= COLUMNS


def choice_rows(rows: Sequence[Mapping[str, Any]], path: str) -> list[Row]:
    """Return the rows; raise `DataError` naming the first that is no question with choices."""
    return [_row(row, number, path) for number, row in enumerate(rows, start=1)]


def _row(row: Mapping[str, Any], number: int, path: str) -> Row:
    question: Any = row.get("question")
    choices: Any = row.get("choices")
    answer: Any = row.get("answer")
    good = (
        isinstance(question, str)
        and isinstance(choices, list)
        and len(choices) > 1
        and all(isinstance(one, str) and one for one in choices)
        and isinstance(answer, int)
        and 0 <= answer < len(choices)
    )
    if not good:
        raise DataError(
            f"{path}: row {number} is no question with choices: {dict(row)!r}",
            fix='write {"question": "…", "choices": ["…", "…"], "answer": 0}',
        )
    right = choices[answer]
    turns = ({"role": "user", "content": question},)
    return Row(str(number), turns, right, tuple(choices), answer, (right,), "")
