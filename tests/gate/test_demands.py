"""Demands on tasks, guards and the champion: each blocks with its name, and says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_evidence import Marks, failed, first, judged, scores, write_evidence

from components.contracts.errors import RecipeError
from components.contracts.events import Context
from components.gate.settings import GateSettings

GOOD = {
    "base": scores(first(200)),
    "tuned": scores(first(340)),
    "int8": scores(first(340)),
}
CHAMPION = {"there": True, "compared": True, "name": "line"}


def share(right: int) -> Marks:
    return first(right).astype(float)


def bits(nll: float) -> Marks:
    """Return 400 documents of 20 to 59 bytes that take `nll` nats a byte."""
    size = np.arange(400) % 40 + 20.0
    return np.stack([size * (nll + 0.01 * (np.arange(400) % 7)), size], axis=1)


def task(base: Any, tuned: Any, int8: Any, measure: str = "acc", **more: Any) -> Any:
    return measure, {"base": base, "tuned": tuned, "int8": int8, **more}


DEMANDS = [
    {"task": "quiz", "better_than": ["base"], "not_worse_than": ["tuned"], "margin": 0.02},
    {"task": "prose", "not_worse_than": ["base"], "margin": 0.1},
]


def test_demands_that_are_met_pass_with_their_figures(tmp_path: Path, context: Context) -> None:
    tasks = {
        "quiz": task(share(100), share(200), share(200)),
        "prose": task(bits(1.0), bits(1.02), bits(1.03), "bits_per_byte"),
        "idle": task(share(300), share(10), share(0)),
    }
    verdict = judged(tmp_path, context, write_evidence(tmp_path, GOOD, tasks), tasks=DEMANDS)
    assert verdict.facts["promote"], verdict.facts["reasons"]
    better = verdict.facts["tasks"]["quiz"]["better_than_base"]
    kept = verdict.facts["tasks"]["quiz"]["not_worse_than_tuned"]
    assert (better["demand"], better["against"], better["test"]) == ("better", "base", "mcnemar")
    assert better["p_holm"] == pytest.approx(better["p"])
    assert (kept["demand"], kept["against"], kept["loss"]) == ("not_worse", "tuned", 0.0)
    assert kept["worst"] == pytest.approx(0.0095, abs=1e-4), "400 items cannot show less"
    prose = verdict.facts["tasks"]["prose"]["not_worse_than_base"]
    assert prose["loss"] == pytest.approx(0.03 / np.log(2), rel=1e-3)
    assert "idle" not in verdict.facts["tasks"], "nothing is demanded of it"
    said = {(r["task"], r["check"]): r["text"] for r in verdict.facts["reasons"]}
    assert "quiz: int8 against base: acc better by 25 points" in said["quiz", "task_better"]
    assert "may lose at most 0.1)" in said["prose", "task_not_worse"]


@pytest.mark.parametrize(
    ("quiz", "prose", "name"),
    [
        ((100, 200, 103), (1.0, 1.0), "task_better:quiz"),
        ((100, 200, 60), (1.0, 1.0), "task_better:quiz"),
        ((100, 200, 180), (1.0, 1.0), "task_not_worse:quiz"),
        ((100, 200, 200), (1.0, 1.2), "task_not_worse:prose"),
    ],
)
def test_each_demand_that_is_not_met_blocks_with_its_name(
    tmp_path: Path, context: Context, quiz: tuple[int, ...], prose: tuple[float, ...], name: str
) -> None:
    base, tuned, shipped = map(share, quiz)
    tasks = {
        "quiz": task(base, tuned, shipped),
        "prose": task(bits(prose[0]), bits(prose[0]), bits(prose[1]), "bits_per_byte"),
    }
    verdict = judged(tmp_path, context, write_evidence(tmp_path, GOOD, tasks), tasks=DEMANDS)
    assert name in failed(verdict)
    assert not verdict.facts["promote"]


def test_several_tasks_that_must_be_better_are_corrected_together(
    tmp_path: Path, context: Context
) -> None:
    tasks = {f"t{n}": task(share(100), share(109), share(109)) for n in range(4)}
    demands = [{"task": name, "better_than": ["base"]} for name in tasks]
    evidence = write_evidence(tmp_path, GOOD, tasks)
    alone = judged(tmp_path, context, evidence, tasks=demands[:1])  # p = 2 · ½⁹ = 0.004
    assert failed(alone) == []
    assert alone.facts["tasks"]["t0"]["better_than_base"]["p_holm"] == pytest.approx(2 / 2**9)
    together = judged(tmp_path, context, evidence, tasks=demands)
    assert failed(together) == [f"task_better:t{n}" for n in range(4)]


def test_too_few_items_are_told_apart_from_harm(tmp_path: Path, context: Context) -> None:
    rng = np.random.default_rng(0)
    base = (rng.random(40) < 0.6).astype(float)
    other = np.roll(base, 1)  # as good, at odds with it on many items
    tasks = {"quiz": task(base, other, other)}
    demand = {"task": "quiz", "not_worse_than": ["base"], "margin": 0.02}
    verdict = judged(tmp_path, context, write_evidence(tmp_path, GOOD, tasks), tasks=[demand])
    reason = next(r for r in verdict.facts["reasons"] if r["task"] == "quiz")
    assert not reason["passed"]
    assert "too few to show" in reason["text"]


def test_a_demand_on_a_task_that_is_not_there_is_told(tmp_path: Path, context: Context) -> None:
    evidence = write_evidence(tmp_path, GOOD, {"quiz": task(share(1), share(2), share(3))})
    with pytest.raises(RecipeError, match=r"'quizz' is not known; did you mean 'quiz'"):
        judged(tmp_path, context, evidence, tasks=[{"task": "quizz", "better_than": ["base"]}])
    with pytest.raises(RecipeError, match="no comparison with base_fewshot") as error:
        judged(
            tmp_path, context, evidence, tasks=[{"task": "quiz", "better_than": ["base_fewshot"]}]
        )
    assert error.value.fix == "use one of: base, tuned"


@pytest.mark.parametrize(
    "demand",
    [
        {"task": "quiz"},
        {"task": "quiz", "not_worse_than": ["base"]},
        {"task": "quiz", "better_than": ["bases"]},
        {"task": "quiz", "not_worse_than": ["base"], "margin": -0.1},
    ],
)
def test_demands_that_say_nothing_are_refused(demand: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"quiz|margin|better_than"):
        GateSettings(tasks=[demand])  # type: ignore[arg-type]


def test_two_demands_on_one_task_are_refused() -> None:
    with pytest.raises(ValueError, match="two demands on quiz"):
        GateSettings(tasks=[{"task": "quiz", "better_than": ["base"]}] * 2)  # type: ignore[arg-type]


# Guards


def test_guards_are_held_against_the_base(tmp_path: Path, context: Context) -> None:
    tasks = {
        "general": task(share(300), share(298), share(299)),
        "prose": task(bits(1.0), bits(1.01), bits(1.01), "bits_per_byte"),
    }
    evidence = write_evidence(tmp_path, GOOD, tasks, guards=list(tasks))
    verdict = judged(tmp_path, context, evidence)
    assert verdict.facts["promote"], verdict.facts["reasons"]
    general = verdict.facts["guards"]["general"]
    assert (general["margin"], general["base"]["value"]) == (0.05, 0.75)
    assert general["shipped"]["value"] == pytest.approx(299 / 400)
    strict = judged(tmp_path, context, evidence, guards={"general": 0.0, "prose": 0.001})
    assert failed(strict) == ["guard:general", "guard:prose"]


def test_a_guard_that_got_worse_blocks_with_its_name(tmp_path: Path, context: Context) -> None:
    tasks = {"general": task(share(300), share(300), share(270))}
    evidence = write_evidence(tmp_path, GOOD, tasks, guards=["general"])
    verdict = judged(tmp_path, context, evidence)
    assert failed(verdict) == ["guard:general"]
    reason = next(r for r in verdict.facts["reasons"] if r["guard"])
    assert "guard general: int8 against base: acc -7.5 points" in reason["text"]
    assert "may lose at most 5 points" in reason["text"]


def test_a_margin_of_no_guard_is_told(tmp_path: Path, context: Context) -> None:
    tasks = {"general": task(share(3), share(3), share(3))}
    evidence = write_evidence(tmp_path, GOOD, tasks, guards=["general"])
    with pytest.raises(RecipeError, match=r"'genral' is no guard.*did you mean 'general'"):
        judged(tmp_path, context, evidence, guards={"genral": 0.1})


def test_a_perplexity_has_no_margin_by_itself(tmp_path: Path, context: Context) -> None:
    tasks = {"prose": task(bits(1.0), bits(1.0), bits(1.0), "token_perplexity")}
    evidence = write_evidence(tmp_path, GOOD, tasks, guards=["prose"])
    with pytest.raises(RecipeError, match="no margin by itself"):
        judged(tmp_path, context, evidence)
    assert failed(judged(tmp_path, context, evidence, guards={"prose": 0.5})) == []


# Champion


def against(tmp_path: Path, champion: int, **facts: Any) -> Any:
    rows = {**GOOD, "champion": scores(first(champion))}
    tasks = {"quiz": task(share(100), share(200), share(200), champion=share(champion))}
    return write_evidence(tmp_path, rows, tasks, champion={**CHAMPION, **facts})


def test_no_champion_yet_is_a_pass_that_says_so(tmp_path: Path, context: Context) -> None:
    demand = {"task": "quiz", "better_than": ["champion"]}
    tasks = {"quiz": task(share(100), share(200), share(200))}
    evidence = write_evidence(tmp_path, GOOD, tasks, champion={"there": False, "compared": False})
    verdict = judged(tmp_path, context, evidence, tasks=[demand])
    assert verdict.facts["promote"]
    said = [r["text"] for r in verdict.facts["reasons"] if "champion" in r["text"]]
    assert said == [
        "quiz: no champion yet: nothing to compare with",
        "no champion yet: nothing to compare with",
    ]
    assert verdict.facts["champion"]["there"] is False


@pytest.mark.parametrize(
    ("champion", "settings", "names"),
    [
        (345, {}, []),
        (365, {}, ["not_worse_than_champion"]),
        (345, {"champion": {"superiority": True}}, ["better_than_champion"]),
        (250, {"champion": {"superiority": True}}, []),
        (345, {"champion": {"max_accuracy_loss": 0.0}}, ["not_worse_than_champion"]),
        (200, {"tasks": [{"task": "quiz", "better_than": ["champion"]}]}, ["task_better:quiz"]),
    ],
)
def test_the_champion_must_not_be_worth_more(
    tmp_path: Path, context: Context, champion: int, settings: dict[str, Any], names: list[str]
) -> None:
    verdict = judged(tmp_path, context, against(tmp_path, champion), **settings)
    assert failed(verdict) == names
    assert verdict.facts["champion"]["against"]["items"] == 400


def test_the_same_bytes_are_no_rival(tmp_path: Path, context: Context) -> None:
    settings = {
        "champion": {"superiority": True},
        "tasks": [{"task": "quiz", "better_than": ["champion"]}],
    }
    evidence = against(tmp_path, 340, same_as="int8")
    assert failed(judged(tmp_path, context, evidence, **settings)) == []


def test_a_champion_that_did_not_answer_blocks(tmp_path: Path, context: Context) -> None:
    facts = {"there": True, "compared": False, "reason": "it has another tokenizer"}
    evidence = write_evidence(tmp_path, GOOD, {}, champion=facts)
    verdict = judged(tmp_path, context, evidence)
    assert failed(verdict) == ["champion"]
    assert "another tokenizer" in verdict.facts["reasons"][-1]["text"]
