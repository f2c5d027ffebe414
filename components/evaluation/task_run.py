"""The tasks of one evaluation, put to base and tuned, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.scoring.lm import CausalLM
from components.scoring.requests import Desk
from components.scoring.tasks import Answered, Asked, answer_tasks, comparisons, write_asked

BASE, PROMPTED = "base", "base_fewshot"


@dataclass
class TaskRun:
    """`found` holds what every model made of every task, by model and task."""

    asked: Sequence[Asked]
    desk: Desk
    alpha: float
    found: dict[str, dict[str, Answered]] = field(default_factory=dict)

    def put(self, lm: CausalLM, model: str, folder: Path) -> None:
        """Put every task to a model; the base model is also asked with examples, where wanted."""
        write_asked(folder, self.asked)
        desk = replace(self.desk, label=f"{self.desk.label} {model}")
        self.found[model] = answer_tasks(lm, self.asked, desk, folder, model)
        prompted = [replace(one, requests=one.fewshot) for one in self.asked if one.fewshot]
        if model == BASE and prompted:
            desk = replace(self.desk, label=f"{self.desk.label} {PROMPTED}")
            self.found[PROMPTED] = answer_tasks(lm, prompted, desk, folder, PROMPTED)

    def facts(self) -> dict[str, Any]:
        """Return the tasks with every model's figures, and the comparisons with the base."""
        plans = {name: answered.plan for name, answered in self.found[BASE].items()}
        tasks = {
            one.plan.name: {
                "plan": plans[one.plan.name].facts(),
                **({"guard": True} if one.guard else {}),
                **one.facts,
                "models": {
                    model: found[one.plan.name].facts()
                    for model, found in self.found.items()
                    if one.plan.name in found
                },
            }
            for one in self.asked
        }
        answers = {
            model: {name: answered.answers for name, answered in found.items()}
            for model, found in self.found.items()
        }
        references = {model: answers[model] for model in (BASE, PROMPTED) if model in answers}
        others = {model: found for model, found in answers.items() if model not in references}
        guards = {one.plan.name for one in self.asked if one.guard}
        compared = comparisons(list(plans.values()), others, references, self.alpha, guards)
        return {
            "tasks": tasks,
            "task_names": [one.plan.name for one in self.asked],  # in the order of the recipe
            "alpha": self.alpha,
            "comparisons": compared,
        }
