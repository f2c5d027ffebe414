"""Every task over rows by the name that a recipe gives it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from components.evaluation.prompts import Prompter
from components.evaluation.tasks import (
    canary,
    choice,
    code,
    generation,
    question_answering,
    refusals,
    summarization,
    toxicity,
    translation,
)
from components.scoring.requests import Plan, Request


class Task(NamedTuple):
    """How a task asks: its plan, and its requests out of rows."""

    plan: Callable[[Any, str], Plan]
    requests: Callable[[Any, Any, Prompter], list[Request]]


TASKS: dict[str, Task] = {
    name: Task(module.plan, module.requests)
    for name, module in {
        "canary": canary,
        "choice": choice,
        "code": code,
        "generation": generation,
        "question_answering": question_answering,
        "refusals": refusals,
        "summarization": summarization,
        "toxicity": toxicity,
        "translation": translation,
    }.items()
}
"""Beside these: `perplexity`, which takes texts, and `lm_eval`, which makes its own prompts."""
