"""The sections of what else was asked: tasks, guards, the champion."""

from typing import Any

from components.report.line import Page
from components.scoring.measures import measure_named

Built = dict[str, Any] | None


def tasks(page: Page) -> Built:
    """Return every task's figures by model, and how the shipped file compares."""
    asked = page.line.evaluation.facts.get("tasks", {})
    found = [_task(page, name) for name, one in asked.items() if not one.get("guard")]
    return {"models": _columns(page), "rows": found} if found else None


def _task(page: Page, name: str) -> dict[str, Any]:
    facts = page.line.evaluation.facts["tasks"][name]
    variants = page.line.verification.facts["variants"]
    by_model = {
        **facts["models"],
        **{model: variants[model].get("tasks", {}).get(name, {}) for model in variants},
    }
    known: dict[str, Any] = next((one for one in by_model.values() if one), {})
    measures = list(facts["plan"]["measures"]) or [m for m in known if m != "lm_eval"]
    return {
        "name": name,
        "task": facts["plan"]["task"],
        "measures": [
            {
                "name": measure,
                "points": measure_named(measure).points,
                "by": {model: found.get(measure) for model, found in by_model.items()},
            }
            for measure in measures
        ],
        "said": _said(page, name),
        "promised": [
            reason for reason in page.line.verdict.facts["reasons"] if reason.get("task") == name
        ],
    }


def _columns(page: Page) -> list[str]:
    asked = page.line.evaluation.facts["tasks"].values()
    prompted = any("base_fewshot" in one["models"] for one in asked)
    return ["base", *(["base_fewshot"] if prompted else []), "tuned", *page.line.exported]


def _said(page: Page, task: str) -> list[str]:
    """Return what the comparisons of the shipped file say of a task."""
    told = page.line.verification.facts.get("comparisons", {})
    return [
        f"{pair}: {one['words']}"
        for pair, several in told.items()
        if pair.startswith(f"{page.line.ship} against ")
        for one in several
        if one["task"] == task
    ]


def guards(page: Page) -> Built:
    """Return every guard of the verdict, those that failed first."""
    found = page.line.verdict.facts.get("guards") or {}
    rows = [
        {"name": name, "points": measure_named(one.get("measure", "score")).points, **one}
        for name, one in found.items()
    ]
    words = {
        reason["guard"]: reason["text"]
        for reason in page.line.verdict.facts["reasons"]
        if reason.get("guard")
    }
    rows.sort(key=lambda row: bool(row.get("passed")))
    return {"rows": rows, "words": words} if rows else None


def champion(page: Page) -> Built:
    """Return what the verdict says of the champion; nothing where there was none to meet."""
    found = page.line.verdict.facts.get("champion")
    if not found or not (found.get("there", True)):
        return None
    reasons = [one for one in page.line.verdict.facts["reasons"] if "champion" in one["check"]]
    return {"reasons": reasons, "metrics": found.get("metrics"), "reason": found.get("reason")}
