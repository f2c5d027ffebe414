"""Artefacts of a made-up evaluation and verification, for the gate to judge."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.events import Context
from components.contracts.kinds import Evaluation, Verdict, Verification
from components.gate.gate import gate
from components.gate.settings import GateSettings
from components.scoring.items import Score
from components.scoring.measures import estimate, measure_named
from components.scoring.requests import Answer, Plan, marks_of
from components.scoring.tables import write_scores
from components.scoring.tasks import comparisons

Marks = NDArray[np.float64]

PARITY = {
    "variant": "fp32",
    "passed": True,
    "max_logit_difference": 1e-4,
    "limit": 1e-3,
    "prompts": 50,
    "identical_greedy": 50,
}


def scores(right: NDArray[np.bool_], nll: float = 0.5) -> list[Score]:
    """Return a score an item, right or wrong as told."""
    return [
        Score(str(i), (-1.0, -2.0), 0, 0, bool(ok), bool(ok), nll, 2, 8 * nll, 4, 12)
        for i, ok in enumerate(right)
    ]


def answers(measure: str, marks: Marks) -> list[Answer]:
    """Return an answer an item that adds one number of `marks` [items] to a share."""
    rows = marks if marks.ndim == 2 else np.stack([marks, np.ones(len(marks))], axis=1)
    return [Answer(str(i), {measure: tuple(map(float, row))}) for i, row in enumerate(rows)]


def write_evidence(
    folder: Path,
    rows: Mapping[str, Sequence[Score]],
    tasks: Mapping[str, tuple[str, Mapping[str, Marks]]],
    guards: Sequence[str] = (),
    champion: Mapping[str, Any] | None = None,
) -> tuple[Evaluation, Verification]:
    """Write what base, tuned, int8 and perhaps champion made of `rows` and of `tasks`.

    `tasks` holds measure and marks by model for every task; those in `guards` are guards.
    """
    plans = [Plan(name, "choice", 1, "choice", (m,)) for name, (m, _) in tasks.items()]
    made = {
        model: {n: answers(m, by[model]) for n, (m, by) in tasks.items() if model in by}
        for model in ("base", "tuned", "int8", "champion")
    }
    figures = {
        model: {
            p.name: {
                p.measures[0]: estimate(
                    measure_named(p.measures[0]), marks_of(found[p.name], p.measures[0])
                )
            }
            for p in plans
            if p.name in found
        }
        for model, found in made.items()
    }
    with Evaluation.write(folder / "evaluation") as draft:
        for model in ("base", "tuned"):
            write_scores(draft.folder / f"{model}.parquet", list(rows[model]))
        draft.facts = {
            "task_names": list(tasks),
            "tasks": {
                p.name: {
                    "plan": p.facts(),
                    "guard": p.name in guards,
                    "models": {m: figures[m][p.name] for m in ("base", "tuned")},
                }
                for p in plans
            },
        }
    with Verification.write(folder / "verification") as draft:
        for model in ("int8", "champion"):
            if model in rows:
                write_scores(draft.folder / f"{model}.parquet", list(rows[model]))
        references = {m: made[m] for m in ("base", "tuned", "champion") if made[m]}
        draft.facts = {
            "variants": {"int8": {"tasks": figures["int8"]}},
            "parity": PARITY,
            "comparisons": comparisons(
                plans, {"int8": made["int8"]}, references, 0.01, guards=guards
            ),
            **({"champion": dict(champion)} if champion else {}),
        }
    return (
        Evaluation.open(folder / "evaluation"),
        Verification.open(folder / "verification"),
    )


def judged(
    folder: Path, context: Context, evidence: tuple[Evaluation, Verification], **settings: Any
) -> Verdict:
    """Return the verdict on made-up evidence."""
    return gate(*evidence, GateSettings(**settings), out=folder / "verdict", context=context)


def failed(verdict: Verdict) -> list[str]:
    """Return the names of the checks that failed, of tasks and guards with their names."""
    return [
        ":".join(filter(None, (reason["check"], reason["task"], reason["guard"])))
        for reason in verdict.facts["reasons"]
        if not reason["passed"]
    ]


def first(right: int, items: int = 400) -> NDArray[np.bool_]:
    """Return the first `right` of the items as right."""
    return np.arange(items) < right
