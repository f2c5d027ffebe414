"""Sections of a recipe held against each other: what the gate judges must be asked and exported."""

from collections.abc import Iterator
from typing import Protocol

from components.contracts.errors import RecipeError, did_you_mean
from components.evaluation.settings import EvaluationSettings
from components.gate.settings import GateSettings


class Judged(Protocol):
    """The sections that the gate's own speaks of."""

    @property
    def evaluation(self) -> EvaluationSettings: ...

    @property
    def gate(self) -> GateSettings: ...


def need_known_demands(recipe: Judged, name: str) -> None:
    """Raise `RecipeError` before hours of training if the gate judges what nobody answers."""
    asked = recipe.evaluation.names()
    guards = [one.name or one.task for one in recipe.evaluation.guards]
    tasks = [one for one in asked if one not in guards]
    faults = [
        *_unknown("gate.tasks", [d.task for d in recipe.gate.tasks], tasks, "task"),
        *_unknown("gate.guards", list(recipe.gate.guards), guards, "guard"),
    ]
    if faults:
        raise RecipeError(
            "\n".join(f"recipes/{name}.yaml: {fault}" for fault in faults),
            fix=f"name what stands under evaluation: tasks {', '.join(tasks) or '(none)'}; "
            f"guards {', '.join(guards) or '(none)'}",
        )


def _unknown(key: str, found: list[str], known: list[str], what: str) -> Iterator[str]:
    # lm-eval's tasks carry their folder in the recipe, but not in the facts.
    plain = [one.replace("/", "--") for one in known]
    for one in found:
        if one not in plain:
            yield f"{key}: '{one}' is no {what} of the evaluation{did_you_mean(one, plain)}"
