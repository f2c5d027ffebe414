"""The evaluation's tasks, put to the exported files: the same requests, marks and comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.kinds import Evaluation
from components.scoring.lm import CausalLM
from components.scoring.requests import Answer, Desk, Plan
from components.scoring.tasks import Asked, answer_tasks, comparisons, read_answered, read_asked
from components.scoring.wording import Stranger, retell
from components.verification.champion import NAME as CHAMPION

REFERENCES = ("base", "tuned", "base_fewshot")


def retold(asked: Sequence[Asked], stranger: Stranger) -> list[Asked]:
    """Return the tasks in a stranger's tokens."""
    made = []
    for one in asked:
        plan, requests = retell(one.plan, one.requests, stranger)
        made.append(replace(one, plan=plan, requests=requests))
    return made


@dataclass
class VariantTasks:
    """`answers` holds what every file made of every task, by variant and task."""

    evaluation: Evaluation
    desk: Desk
    answers: dict[str, dict[str, list[Answer]]] = field(default_factory=dict)

    @cached_property
    def asked(self) -> list[Asked]:
        return read_asked(self.evaluation)

    def put(
        self, lm: CausalLM, variant: str, folder: Path, stranger: Stranger | None = None
    ) -> dict[str, Any]:
        """Put every task to a file; return its figures by task.

        A `stranger` is asked the same words in its own tokens.
        """
        desk, asked = replace(self.desk, label=f"{self.desk.label} {variant}"), self.asked
        if stranger is not None:
            desk, asked = replace(desk, voice=stranger.voice), retold(asked, stranger)
        found = answer_tasks(lm, asked, desk, folder, variant)
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
