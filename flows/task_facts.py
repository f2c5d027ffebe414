"""What every model made of every task, for `tuneline show`: from the evaluation to the files."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TaskFacts(BaseModel):
    """One task by its first measure. `models` holds value and 95 % interval by model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    measure: str
    guard: bool = False
    items: int
    models: dict[str, tuple[float, float, float]] = Field(
        description="value, lower and upper end of the 95 % interval, by model"
    )


def task_facts(
    evaluation: Mapping[str, Any], verification: Mapping[str, Any]
) -> dict[str, TaskFacts]:
    """Return the tasks in the recipe's order; a task that measures nothing comparable is left out.

    `evaluation` and `verification` are the facts of these artefacts, perhaps empty.
    """
    answered = {
        name: one.get("tasks", {}) for name, one in verification.get("variants", {}).items()
    }
    answered["champion"] = verification.get("champion", {}).get("tasks", {})
    found = {}
    for name in evaluation.get("task_names", ()):
        asked = evaluation["tasks"][name]
        measures = asked["plan"]["measures"]
        if not measures:
            continue
        figures = dict(asked["models"]) | {
            m: told[name] for m, told in answered.items() if name in told
        }
        values = {
            model: (figure[measures[0]]["value"], *figure[measures[0]]["interval"])
            for model, figure in figures.items()
            if measures[0] in figure
        }
        found[name] = TaskFacts(
            task=asked["plan"]["task"],
            measure=measures[0],
            guard=bool(asked.get("guard")),
            items=max(figure[measures[0]]["items"] for figure in figures.values()),
            models=values,
        )
    return found
