"""The demands on tasks: which must be better, which must not be worse, and by how much."""

from dataclasses import replace
from typing import Any

from components.contracts.errors import RecipeError, choose
from components.gate.evidence import CHAMPION, Evidence
from components.gate.kept import Kept
from components.gate.reason import Reason
from components.gate.rival import settled
from components.gate.settings import TaskDemand
from components.scoring.paired import Paired, holm

Found = tuple[Reason, dict[str, Any]]
"""A reason, and the figures behind it."""


def judge_tasks(evidence: Evidence) -> tuple[list[Reason], dict[str, Any]]:
    """Return a reason a demand, and by task and demand what was found.

    Raises `RecipeError` for a task that the evaluation did not ask, or a reference that did not
    answer it. Whether there is a champion is no fault of the recipe: that is a reason.
    """
    found: dict[str, list[Found]] = {demand.task: [] for demand in evidence.settings.tasks}
    for demand in evidence.settings.tasks:
        choose("gate.tasks: the task", demand.task, dict(evidence.tasks), RecipeError)
    corrected, no_rival = superiority(evidence), settled(evidence)
    for demand in evidence.settings.tasks:
        for reference in demand.better_than:
            found[demand.task].append(
                without_champion(demand.task, "better", *no_rival)
                if reference == CHAMPION and no_rival
                else better(evidence, demand, reference, corrected)
            )
        for reference in demand.not_worse_than:
            found[demand.task].append(
                without_champion(demand.task, "not_worse", *no_rival)
                if reference == CHAMPION and no_rival
                else not_worse(evidence, demand, reference)
            )
    reasons = [reason for several in found.values() for reason, _ in several]
    return reasons, {
        name: {f"{facts['demand']}_than_{facts['against']}": facts for _, facts in several}
        for name, several in found.items()
    }


def superiority(evidence: Evidence) -> dict[tuple[str, str], Paired]:
    """Return the comparisons that must show superiority, by task and reference.

    p is corrected after Holm over all tasks that must be better than the same reference, and
    judged by the gate's own alpha.
    """
    corrected: dict[tuple[str, str], Paired] = {}
    for reference in sorted({r for d in evidence.settings.tasks for r in d.better_than}):
        if reference == CHAMPION and settled(evidence):
            continue
        names = [d.task for d in evidence.settings.tasks if reference in d.better_than]
        known = [need(evidence, name, reference) for name in names]
        for one, p in zip(known, holm([one.p for one in known]), strict=True):
            corrected[one.task, reference] = replace(one, p_holm=p, alpha=evidence.settings.alpha)
    return corrected


def better(
    evidence: Evidence,
    demand: TaskDemand,
    reference: str,
    corrected: dict[tuple[str, str], Paired],
) -> Found:
    """Superiority over a reference."""
    one = corrected[demand.task, reference]
    passed = one.outcome == "better"
    text = (
        f"{demand.task}: {evidence.settings.ship} against {reference}: {one.measure} "
        f"{one.words()} (p ≤ {one.alpha:g} needed)"
    )
    facts = {"demand": "better", "against": reference, "passed": passed, **one.facts()}
    return Reason("task_better", passed, text, task=demand.task), facts


def not_worse(evidence: Evidence, demand: TaskDemand, reference: str) -> Found:
    """Non-inferiority to a reference with the demand's margin."""
    kept = Kept(need(evidence, demand.task, reference), float(demand.margin or 0))
    text = f"{demand.task}: {evidence.settings.ship} against {reference}: {kept.words()}"
    facts = {"demand": "not_worse", "against": reference, **kept.facts()}
    return Reason("task_not_worse", kept.passed, text, task=demand.task), facts


def without_champion(task: str, demand: str, passed: bool, why: str) -> Found:
    """A demand against a champion that is not there, is this file itself, or did not answer."""
    facts = {"demand": demand, "against": CHAMPION, "passed": passed}
    return Reason(f"task_{demand}", passed, f"{task}: {why}", task=task), facts


def need(evidence: Evidence, task: str, reference: str) -> Paired:
    """Return the comparison of the file to ship with a reference; raise `RecipeError` if none."""
    found = evidence.paired.get(reference, {}).get(task)
    if found is None:
        answered = sorted({r for r, several in evidence.paired.items() if task in several})
        raise RecipeError(
            f"gate.tasks: '{task}' has no comparison with {reference}",
            fix=f"use one of: {', '.join(answered)}"
            if answered
            else "the task measures nothing that two models can be compared by",
        )
    return found
