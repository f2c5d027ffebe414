"""The evaluation's tasks, put to the exported files: the same requests, marks and comparisons."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.kinds import Evaluation
from components.scoring.lm import CausalLM
from components.scoring.requests import Answer, Desk, Plan
from components.scoring.tasks import Asked, answer_tasks, comparisons, read_answered, read_asked
from components.verification.champion import NAME as CHAMPION

REFERENCES = ("base", "tuned", "base_fewshot")


@dataclass
class VariantTasks:
    """`answers` holds what every file made of every task, by variant and task."""

    evaluation: Evaluation
    desk: Desk
    answers: dict[str, dict[str, list[Answer]]] = field(default_factory=dict)

    @cached_property
    def asked(self) -> list[Asked]:
        return read_asked(self.evaluation)

    def put(self, lm: CausalLM, variant: str, folder: Path) -> dict[str, Any]:
        """Put every task to a file; return its figures by task."""
        desk = replace(self.desk, label=f"{self.desk.label} {variant}")
        found = answer_tasks(lm, self.asked, desk, folder, variant)
        self.answers[variant] = {name: answered.answers for name, answered in found.items()}
        return {name: answered.facts() for name, answered in found.items()}

    def comparisons(self) -> dict[str, Any]:
        """Return every file against base, tuned, the base with examples and the champion."""
        plans: list[Plan] = [one.plan for one in self.asked]
        references = {model: read_answered(self.evaluation, model) for model in REFERENCES}
        files = dict(self.answers)
        if CHAMPION in files:
            references[CHAMPION] = files.pop(CHAMPION)
        guards = {one.plan.name for one in self.asked if one.guard}
        return comparisons(plans, files, references, self.evaluation.facts["alpha"], guards)
