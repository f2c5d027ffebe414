"""The demands on tasks: which must be better, which must not be worse, and by how much."""

from dataclasses import replace
from typing import Any

from components.contracts.errors import RecipeError, choose
from components.gate.evidence import CHAMPION, Evidence
from components.gate.kept import Kept
from components.gate.reason import Reason
from components.gate.settings import TaskDemand
from components.scoring.paired import Paired, holm

Found = tuple[Reason, dict[str, Any]]
"""A reason, and the figures behind it."""


def judge_tasks(evidence: Evidence) -> tuple[list[Reason], dict[str, Any]]:
    """Return a reason a demand, and by task its measure and all that was found.

    Raises `RecipeError` for a task that the evaluation did not ask, or a reference that did not
    answer it.
    """
    found: dict[str, list[Found]] = {demand.task: [] for demand in evidence.settings.tasks}
    corrected = superiority(evidence)
    for demand in evidence.settings.tasks:
        choose("gate.tasks: the task", demand.task, dict(evidence.tasks), RecipeError)
        for reference in demand.better_than:
            found[demand.task].append(better(evidence, demand, reference, corrected))
        for reference in demand.not_worse_than:
            found[demand.task].append(not_worse(evidence, demand, reference))
    reasons = [reason for several in found.values() for reason, _ in several]
    return reasons, {name: [facts for _, facts in several] for name, several in found.items()}


def superiority(evidence: Evidence) -> dict[tuple[str, str], Paired]:
    """Return the comparisons that must show superiority, by task and reference.

    p is corrected after Holm over all tasks that must be better than the same reference, and
    judged by the gate's own alpha.
    """
    corrected = {}
    for reference in sorted({r for d in evidence.settings.tasks for r in d.better_than}):
        names = [d.task for d in evidence.settings.tasks if reference in d.better_than]
        known = [p for name in names if (p := paired(evidence, name, reference))]
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
    one = corrected.get((demand.task, reference))
    if one is None:
        return unasked(evidence, demand.task, reference, "better")
    passed = one.outcome == "better"
    text = (
        f"{demand.task}: {evidence.settings.ship} against {reference}: {one.measure} "
        f"{one.words()} (p ≤ {one.alpha:g} needed)"
    )
    facts = {"demand": "better", "against": reference, "passed": passed, **one.facts()}
    return Reason("task_better", passed, text, task=demand.task), facts


def not_worse(evidence: Evidence, demand: TaskDemand, reference: str) -> Found:
    """Non-inferiority to a reference with the demand's margin."""
    one = paired(evidence, demand.task, reference)
    if one is None:
        return unasked(evidence, demand.task, reference, "not_worse")
    kept = Kept(one, float(demand.margin or 0))
    text = f"{demand.task}: {evidence.settings.ship} against {reference}: {kept.words()}"
    facts = {"demand": "not_worse", "against": reference, **kept.facts()}
    return Reason("task_not_worse", kept.passed, text, task=demand.task), facts


def unasked(evidence: Evidence, task: str, reference: str, demand: str) -> Found:
    """Return the pass that there is no champion to compare with; else raise `RecipeError`.

    A champion that could not answer is no pass.
    """
    if reference != CHAMPION:
        answered = sorted({r for r, several in evidence.paired.items() if task in several})
        raise RecipeError(
            f"gate.tasks: '{task}' has no comparison with {reference}",
            fix=f"use one of: {', '.join(answered)}"
            if answered
            else "the task measures nothing that two models can be compared by",
        )
    passed, why = absent(evidence)
    facts = {"demand": demand, "against": reference, "passed": passed}
    return Reason(f"task_{demand}", passed, f"{task}: {why}", task=task), facts


def absent(evidence: Evidence) -> tuple[bool, str]:
    """Return whether having no figures of the champion is a pass, and why there are none."""
    facts = evidence.champion_facts
    if facts.get("same_as") == evidence.settings.ship:
        return True, f"{evidence.settings.ship} is the champion, byte for byte"
    if not facts.get("there"):
        return True, "no champion yet: nothing to compare with"
    return False, f"not compared with the champion: {facts.get('reason', 'it gave no answers')}"


def paired(evidence: Evidence, task: str, reference: str) -> Paired | None:
    """Return the comparison of the file to ship with a reference, if both answered the task."""
    return evidence.paired.get(reference, {}).get(task)
