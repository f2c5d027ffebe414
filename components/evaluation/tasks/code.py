"""Programs against unit tests: pass@1, run in bounded processes (Chen et al. 2021)."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts.errors import DataError
from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row
from components.evaluation.settings import CodeTask
from components.scoring.requests import Plan, Request

VERSION = 1
MEASURES = ("pass@1",)
OPTIONS = ("max_new_tokens", "num_samples", "temperature", "seed", "timeout", "memory", "workers")


def plan(settings: CodeTask, name: str) -> Plan:
    options = {key: getattr(settings, key) for key in OPTIONS}
    return Plan(
        name, settings.task, VERSION, "code", MEASURES, "", options | {"stop": list(settings.stop)}
    )


def requests(
    rows: Sequence[Mapping[str, Any]], settings: CodeTask, prompter: Prompter
) -> list[Request]:
    """Return a request a row of HumanEval's shape; raise `DataError` naming one without tests."""
    made = []
    for number, row in enumerate(rows, start=1):
        for column in ("prompt", "test"):
            if not isinstance(row.get(column), str):
                raise DataError(
                    f"{settings.dataset_path}: row {number} has no text in column '{column}' "
                    f"(columns: {', '.join(row)})",
                    fix="code rows have prompt, test and perhaps entry_point",
                )
        name = str(row.get("task_id", number))
        question = Row(name, ({"role": "user", "content": row["prompt"]},), "", (), -1, (), "")
        prompt = prompter.ask(question, settings.max_new_tokens)
        code = (row["prompt"], row["test"], str(row.get("entry_point") or ""))
        made.append(Request(name, prompt, code=code))
    return made
