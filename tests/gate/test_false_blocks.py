"""How often the whole gate errs: 200 runs of one model twice, and of a loss of five points.

Every model answers each item rightly with a chance of its own. Two answers of one model differ by
that chance alone: on one item of ten between two trainings, on one of a hundred between torch and
the exported file, on one of twenty of the guard.
"""

from collections.abc import Callable

import numpy as np
import pytest
from made_evidence import PARITY, Marks, answers, scores

from components.gate.evidence import Evidence
from components.gate.gate import judge_all
from components.gate.settings import GateSettings
from components.scoring.paired import compare_answers
from components.scoring.requests import Plan

SEEDS, ROWS = 200, 646
SETTINGS = GateSettings.model_validate(
    {
        "min_items": 600,
        "alpha": 1e-3,
        "tasks": [
            {"task": "quiz", "better_than": ["base"], "not_worse_than": ["champion"], "margin": 0.1}
        ],
        "guards": {"general": 0.08, "prose": 0.1, "toxicity": 0.25},
    }
)
Chances = np.ndarray
Draw = Callable[[np.random.Generator, Chances], Marks]


def chances(rng: np.random.Generator, items: int, mean: float, spread: float) -> Chances:
    """Return each item's chance to be answered rightly; a small `spread` makes it 0 or 1."""
    return rng.beta(mean * spread, (1 - mean) * spread, items)


def draw(rng: np.random.Generator, p: Chances) -> Marks:
    return (rng.random(len(p)) < p).astype(float)


def near(rng: np.random.Generator, p: Chances, first: Marks, share: float) -> Marks:
    """Return answers of the same model that were drawn anew for a `share` of the items."""
    anew = rng.random(len(p)) < share
    return np.where(anew, draw(rng, p), first)


def lose(rng: np.random.Generator, marks: Marks, points: float) -> Marks:
    """Turn right answers into wrong ones, so many that accuracy falls by `points`."""
    return marks * (rng.random(len(marks)) >= points / marks.mean())


def prose(rng: np.random.Generator) -> tuple[Marks, Marks]:
    size = 250.0 + np.arange(14) * 7
    base = size * rng.normal(0.75, 0.05, 14)
    return (
        np.stack([base, size], axis=1),
        np.stack([base + size * rng.normal(0, 0.01, 14), size], axis=1),
    )


def evidence(
    seed: int, *, export_loses: float = 0.0, training_loses: float = 0.0, guard_loses: float = 0.0
) -> Evidence:
    """Return a run whose challenger is the champion's equal, but for what is lost on purpose."""
    rng = np.random.default_rng([11, seed])
    p = chances(rng, ROWS, 0.86, 0.71)
    champion, tuned = draw(rng, p), lose(rng, draw(rng, p), training_loses)
    shipped = lose(rng, near(rng, p, tuned, 0.08), export_loses)
    quiz, general = chances(rng, 300, 0.8, 0.8), chances(rng, 152, 0.8, 0.9)
    knows, reads = draw(rng, general), prose(rng)
    tasks: dict[str, tuple[str, dict[str, Marks]]] = {
        "quiz": (
            "acc",
            {
                "base": draw(rng, np.full(300, 0.4)),
                "champion": draw(rng, quiz),
                "int8": draw(rng, quiz),
            },
        ),
        "general": (
            "acc",
            {"base": knows, "int8": lose(rng, near(rng, general, knows, 0.3), guard_loses)},
        ),
        "toxicity": ("clean", {"base": np.ones(12), "int8": np.ones(12)}),
        "prose": ("bits_per_byte", {"base": reads[0], "int8": reads[1]}),
    }
    paired: dict[str, dict[str, object]] = {"base": {}, "champion": {}}
    for name, (measure, by) in tasks.items():
        for reference in set(by) - {"int8"}:
            paired[reference][name] = compare_answers(
                name, measure, answers(measure, by["int8"]), answers(measure, by[reference])
            )
    asked = {
        name: {"plan": Plan(name, "choice", 1, "choice", (measure,)).facts()}
        for name, (measure, _) in tasks.items()
    }
    quiz_facts = {"quiz": asked.pop("quiz")}
    return Evidence(
        base=scores(draw(rng, np.full(ROWS, 0.59)) > 0),
        tuned=scores(tuned > 0),
        shipped=scores(shipped > 0),
        champion=scores(champion > 0),
        parity=PARITY,
        settings=SETTINGS,
        champion_facts={"there": True, "compared": True},
        paired=paired,  # type: ignore[arg-type]
        tasks=quiz_facts,
        guards=asked,
    )


def blocked(**lost: float) -> tuple[int, dict[str, int]]:
    """Return how many of the runs are blocked, and how often each check was why."""
    count, why = 0, dict[str, int]()
    for seed in range(SEEDS):
        reasons, _ = judge_all(evidence(seed, **lost))
        fails = [
            reason.guard or reason.task or reason.check for reason in reasons if not reason.passed
        ]
        count += bool(fails)
        for name in fails:
            why[name] = why.get(name, 0) + 1
    return count, why


def test_the_same_model_twice_is_seldom_blocked() -> None:
    count, why = blocked()
    assert count <= 0.05 * SEEDS, why


@pytest.mark.parametrize(
    ("lost", "check"),
    [
        ({"training_loses": 0.05}, "not_worse_than_champion"),
        pytest.param({"export_loses": 0.05}, "not_worse_than_tuned", marks=pytest.mark.slow),
        pytest.param({"guard_loses": 0.1}, "general", marks=pytest.mark.slow),
    ],
)
def test_a_planted_loss_is_blocked(lost: dict[str, float], check: str) -> None:
    count, why = blocked(**lost)
    assert count >= 0.95 * SEEDS, why
    assert why[check] >= 0.95 * SEEDS, why
