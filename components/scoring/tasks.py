"""All tasks of a run, put to one model after another: the same in torch and for exported files."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.contracts.kinds import Evaluation
from components.scoring.answering import answer, summary
from components.scoring.harness_run import run_harness
from components.scoring.lm import CausalLM
from components.scoring.paired import compare_tasks
from components.scoring.requests import (
    Answer,
    Desk,
    Plan,
    Request,
    read_answers,
    read_requests,
    write_answers,
    write_requests,
)

Answers = Mapping[str, Sequence[Answer]]
"""A model's answers by task."""

REQUESTS, FEWSHOT = "requests.parquet", "fewshot_requests.parquet"


@dataclass(frozen=True)
class Asked:
    """A task with its requests; `fewshot` are those of the base model with examples before them.

    `facts` say where the items and examples came from. lm-eval makes its own requests.
    A `guard` is there to show that nothing else got worse.
    """

    plan: Plan
    requests: tuple[Request, ...] = ()
    fewshot: tuple[Request, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    guard: bool = False


@dataclass(frozen=True)
class Answered:
    """What one model made of a task. `figures` are lm-eval's own, where it ran the task."""

    plan: Plan
    answers: list[Answer]
    figures: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        own = {"lm_eval": self.figures} if self.figures else {}
        return {**summary(self.plan, self.answers), **own}


def answer_tasks(
    lm: CausalLM, asked: Sequence[Asked], desk: Desk, folder: Path, model: str
) -> dict[str, Answered]:
    """Put every task to a model; write its answers to `folder`/TASK/`model`.parquet."""
    found = {}
    for one in asked:
        name = one.plan.name
        answered = _answer(lm, one, replace(desk, label=f"{desk.label}: {name}"))
        write_answers(
            _place(folder, name) / f"{model}.parquet", answered.answers, answered.plan.measures
        )
        found[name] = answered
    return found


def _answer(lm: CausalLM, asked: Asked, desk: Desk) -> Answered:
    if asked.plan.kind != "lm_eval":
        return Answered(asked.plan, answer(lm, asked.plan, asked.requests, desk))
    answers, figures = run_harness(lm, asked.plan, desk)
    measures = tuple(answers[0].marks) if answers else ()
    return Answered(replace(asked.plan, measures=measures), answers, figures)


def write_asked(folder: Path, asked: Sequence[Asked]) -> None:
    """Write the requests of every task to `folder`/TASK/."""
    for one in asked:
        place = _place(folder, one.plan.name)
        if one.requests:
            write_requests(place / REQUESTS, one.requests)
        if one.fewshot:
            write_requests(place / FEWSHOT, one.fewshot)


def read_asked(evaluation: Evaluation) -> list[Asked]:
    """Return the tasks that an evaluation asked, with the very same requests, in their order."""
    asked = []
    for name in evaluation.facts.get("task_names", ()):
        facts = evaluation.facts["tasks"][name]
        file = evaluation.tasks / name / REQUESTS
        requests = tuple(read_requests(file)) if file.is_file() else ()
        asked.append(Asked(Plan.of(facts["plan"]), requests, guard=bool(facts.get("guard"))))
    return asked


def read_answered(evaluation: Evaluation, model: str) -> dict[str, list[Answer]]:
    """Return the answers of one of an evaluation's models by task, where it has any."""
    files = {
        name: evaluation.tasks / name / f"{model}.parquet"
        for name in evaluation.facts.get("tasks", {})
    }
    return {name: read_answers(file) for name, file in files.items() if file.is_file()}


def comparisons(
    plans: Sequence[Plan],
    models: Mapping[str, Answers],
    against: Mapping[str, Answers],
    alpha: float,
    guards: Collection[str] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Return "MODEL against REFERENCE" → a comparison a task that both answered (`Paired.facts`).

    Holm's correction is over the tasks of each pair of models, and over its `guards` by themselves.
    """
    found = {}
    for model, answers in models.items():
        for reference, others in against.items():
            both = [p for p in plans if p.measures and p.name in answers and p.name in others]
            families = (
                [p for p in both if p.name not in guards],
                [p for p in both if p.name in guards],
            )
            compared = [
                one.facts()
                for family in families
                if family
                for one in compare_tasks(family, answers, others, alpha=alpha)
            ]
            if compared:
                found[f"{model} against {reference}"] = compared
    return found


def _place(folder: Path, task: str) -> Path:
    place = folder / task
    place.mkdir(parents=True, exist_ok=True)
    return place
