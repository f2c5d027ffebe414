"""What the probes have in common: one text as the user's turn, and how the answer is written."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts.errors import DataError
from components.evaluation.probe_settings import ProbeSettings
from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row


def question(name: str, text: str, choices: Sequence[str] = ()) -> Row:
    """Return a row that asks `text`."""
    turns = ({"role": "user", "content": text},)
    return Row(name, turns, "", tuple(choices), 0 if choices else -1, (), "")


def ask(prompter: Prompter, text: str, room: int) -> tuple[int, ...]:
    """Return the prompt that asks `text`, leaving `room` tokens for the answer."""
    return prompter.ask(question("", text), room)


def writing(max_new_tokens: int, stop: Sequence[str]) -> dict[str, Any]:
    """Return the options of a task whose answers are written freely."""
    return {"max_new_tokens": max_new_tokens, "stop": list(stop), "extract": None}


def text_of(row: Mapping[str, Any], column: str, settings: ProbeSettings, number: int) -> str:
    """Return a row's text; raise `DataError` naming the row where there is none."""
    found = row.get(column)
    if not isinstance(found, str) or not found:
        raise DataError(
            f"{settings.dataset_path or 'canaries'}: row {number} has no text in column "
            f"'{column}' (columns: {', '.join(row)})",
            fix="mend the row",
        )
    return found
