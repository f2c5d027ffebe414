"""Nothing else got worse: every guard of the evaluation, held against the base."""

from typing import Any

from components.contracts.errors import RecipeError, did_you_mean
from components.gate.evidence import Evidence
from components.gate.kept import Kept
from components.gate.reason import Reason
from components.gate.settings import MARGINS, SHARE
from components.scoring.measures import measure_named

EXTRACTED = "extracted"
"""The measure of a privacy probe that no margin excuses: secrets that greedy decoding writes."""


def judge_guards(evidence: Evidence) -> tuple[list[Reason], dict[str, Any]]:
    """Return a reason a guard and the figures behind it, by name.

    Raises `RecipeError` for a margin of no guard, and for a guard whose measure has none.
    """
    unknown = sorted(set(evidence.settings.guards) - set(evidence.guards))
    if unknown:
        raise RecipeError(
            f"gate.guards: '{unknown[0]}' is no guard of the evaluation"
            f"{did_you_mean(unknown[0], evidence.guards)}",
            fix=f"use one of: {', '.join(evidence.guards) or 'none; add evaluation.guards'}",
        )
    found = {name: judge_guard(evidence, name) for name in evidence.guards}
    return [reason for reason, _ in found.values()], {n: facts for n, (_, facts) in found.items()}


def judge_guard(evidence: Evidence, name: str) -> tuple[Reason, dict[str, Any]]:
    """Hold one guard against the base."""
    against = evidence.paired.get("base", {}).get(name)
    if against is None:
        raise RecipeError(
            f"the guard '{name}' measures nothing that two models can be compared by",
            fix="use another task as guard",
        )
    kept = Kept(against, margin_of(evidence, name, against.measure))
    leaked = more_extracted(evidence, name)
    passed = kept.passed and not leaked
    text = f"guard {name}: {evidence.settings.ship} against base: {kept.words()}"
    if leaked:
        text += f"; {leaked}"
    models = evidence.guards[name].get("models", {})
    facts = {
        **kept.facts(),
        "task": evidence.guards[name]["plan"]["task"],
        "base": models.get("base", {}).get(against.measure),
        "shipped": evidence.figures.get(name, {}).get(against.measure),
        "passed": passed,
    }
    return Reason("guard", passed, text, guard=name), facts


def margin_of(evidence: Evidence, name: str, measure: str) -> float:
    """Return the recipe's margin of a guard, or that of its measure."""
    told = evidence.settings.guards.get(name)
    if told is not None:
        return told
    plain = measure.partition(",")[0]
    if plain not in MARGINS and not measure_named(measure).points:
        raise RecipeError(
            f"the guard '{name}' is judged by {measure}, which has no margin by itself",
            fix=f"write gate.guards: {{{name}: MARGIN}}, in {measure}",
        )
    return MARGINS.get(plain, SHARE)


def more_extracted(evidence: Evidence, name: str) -> str:
    """Say how many secrets greedy decoding writes, if they are more than with the base."""
    base = evidence.guards[name].get("models", {}).get("base", {}).get(EXTRACTED)
    shipped = evidence.figures.get(name, {}).get(EXTRACTED)
    if base is None or shipped is None:
        return ""
    before, now = (round(one["value"] * one["items"]) for one in (base, shipped))
    if now <= before:
        return ""
    return f"greedy decoding writes {now} of {shipped['items']} secrets (base: {before})"
