"""The artefacts of a whole made-up run, small and quick, for what shows and compares runs."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts import kinds
from components.contracts.tables import dataset_schema
from components.report.line import Line
from components.scoring.bias import Swap, measure_bias
from components.scoring.comparison import compare
from components.scoring.items import Score
from components.scoring.metrics import summarise
from components.scoring.requests import Answer, Plan, Request, write_answers
from components.scoring.slices import Slicing, measure_slices, write_slicings
from components.scoring.tables import write_scores
from components.scoring.tasks import comparisons

LABELS = ["bad", "so-so", "good"]
VARIANTS = {"fp32": 4_000_000, "int8": 1_000_000}
ROWS = 90
EVIL = "<script>alert('x')</script>"
PLAN = Plan("writing", "generation", 1, "generation", ("f1",), "plain", {})
GUARD = Plan("general", "question_answering", 1, "generation", ("f1",), "squad", {})


def scores(skill: float, seed: int = 0, first: int = 0, rows: int = ROWS) -> list[Score]:
    """Answers to `rows` rows from number `first` on, right with a probability of `skill`."""
    found = []
    for number in range(first, first + rows):
        rng = random.Random(f"{seed} {number}")
        right = rng.random() < skill
        target = number % 3
        choice = target if right else (target + 1) % 3
        found.append(
            Score(
                id=f"row-{number}",
                choice_logprobs=tuple(-0.2 if n == choice else -2.5 for n in range(3)),
                choice=choice,
                target=target,
                right=right,
                greedy=right,
                answer_nll=0.4 if right else 2.5,
                answer_tokens=2,
                text_nll=30 - 10 * skill + number % 5,
                text_tokens=9,
                text_bytes=25,
            )
        )
    return found


def words(skill: float) -> list[Answer]:
    """What a model of some skill wrote to the same rows."""
    return [
        Answer(
            f"row-{n}",
            {"f1": (float(right := random.Random(f"w {n}").random() < skill), 1.0)},
            f"it is {LABELS[n % 3]}" if right else "it is hard to say",
        )
        for n in range(ROWS)
    ]


def made_run(
    folder: Path, *, skill: float = 0.85, first: int = 0, tasks: bool = False, seed: int = 0
) -> Line:
    """Write and return every artefact of a run whose shipped file has some `skill`."""
    folder.mkdir(parents=True, exist_ok=True)
    base = scores(0.5, seed=99, first=first)
    tuned = scores(skill, seed, first)
    plain(folder, first)
    with kinds.Evaluation.write(folder / "evaluation") as draft:
        write_scores(draft.folder / "base.parquet", base)
        write_scores(draft.folder / "tuned.parquet", tuned)
        slicings = [Slicing("label", tuple(LABELS), tuple(LABELS[n % 3] for n in range(ROWS)))]
        limits: dict[str, Any] = {"min_items": 20, "alpha": 0.01}
        draft.facts = {
            "items": {"split": "test", "limit": None, "texts": None, "count": ROWS},
            "prefix_token": 0,
            "models": {"base": summarise(base), "tuned": summarise(tuned)},
            "slices": {
                "groups": write_slicings(draft.folder, [one.id for one in base], slicings),
                "limits": limits,
                "models": {
                    "base": measure_slices(slicings, base, **limits),
                    "tuned": measure_slices(slicings, tuned, base, **limits),
                },
            },
        }
        if tasks:
            draft.facts |= task_facts(draft.folder, {"base": 0.2, "tuned": 0.9})
            draft.facts["bias"] = {"labels": LABELS, "models": dict.fromkeys(TORCH, swapped())}
    with kinds.Verification.write(folder / "verification") as draft:
        draft.facts = {"items": ROWS, "parity": parity(), "variants": {}}
        for name, size in VARIANTS.items():
            write_scores(draft.folder / f"{name}.parquet", tuned)
            draft.facts["variants"][name] = {
                "bytes": size,
                "metrics": summarise(tuned),
                "ran_on": {"CPUExecutionProvider": 340},
                "slices": measure_slices(slicings, tuned, base, **limits),
                **({"bias": swapped()} if tasks else {}),
            }
        if tasks:
            add_tasks(draft.folder, draft.facts)
    with kinds.Verdict.write(folder / "verdict") as draft:
        draft.facts = verdict(compare(tuned, base).words(), tasks)
    inputs = {name: getattr(kinds, kind) for name, kind in KINDS.items()}
    return Line(**{name: kind.open(folder / name) for name, kind in inputs.items()})


TORCH = ("base", "tuned")
KINDS = {
    "raw": "Raw",
    "dataset": "Dataset",
    "tokens": "Tokens",
    "adapter": "Adapter",
    "evaluation": "Evaluation",
    "onnx": "Onnx",
    "verification": "Verification",
    "verdict": "Verdict",
}


def plain(folder: Path, first: int) -> None:
    """Write what comes before the evaluation."""
    with kinds.Raw.write(folder / "raw") as draft:
        draft.facts = {"name": "made up", "license": "CC0-1.0", "rows": ROWS}
    with kinds.Dataset.write(folder / "dataset") as draft:
        rows = [row(number) for number in range(first, first + ROWS)]
        table = pa.Table.from_pylist(rows, schema=dataset_schema())
        pq.write_table(table, draft.folder / "test.parquet")
        draft.facts = {
            "rows": {"in": ROWS, "kept": ROWS, "quarantined": 0},
            "splits": {"test": ROWS},
            "cleaned": {"rows": 0},
            "labels": {"test": dict.fromkeys(LABELS, ROWS // 3)},
            "expectations": [{"says": "no empty text", "severity": "drop the row", "unmet": 0}],
        }
    with kinds.Tokens.write(folder / "tokens") as draft:
        draft.facts = {"prefix_token": 0}
    with kinds.Adapter.write(folder / "adapter") as draft:
        lines = [f"{n},{3 / n},{1 / n if n % 4 == 0 else ''},0.001" for n in range(1, 9)]
        text = "\n".join(["step,loss,eval_loss,learning_rate", *lines]) + "\n"
        (draft.folder / "curve.csv").write_text(text, encoding="utf-8")
        draft.facts = {
            "base": f"Made up {EVIL}",
            "steps": 8,
            "planned_steps": 8,
            "stopped_early": False,
            "best_eval_loss": 0.1,
            "best_step": 8,
            "trainable_parameters": 1000,
            "parameters": 100000,
            "tokens": 5000,
            "dtype": "float32",
            "device": "cpu",
        }
    with kinds.Onnx.write(folder / "onnx") as draft:
        draft.facts = {"variants": {name: {} for name in VARIANTS}, "versions": {"torch": "2"}}


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"row-{number}",
        "source": "made up",
        "row": number,
        "text": f"text {number} {EVIL}",
        "messages": "[]",
        "answer": LABELS[number % 3],
        "choices": LABELS,
        "target": number % 3,
        "rejected": "",
        "references": [LABELS[number % 3]],
    }


def parity() -> dict[str, Any]:
    return {"passed": True, "variant": "fp32", "max_logit_difference": 1e-5, "limit": 1e-3}


def swapped() -> dict[str, Any]:
    """Gaps of a model whose answers lean a little towards one group."""
    requests = [
        Request(Swap("origin", n, "text", group).id, (0,), ((1,), (2,), (3,)))
        for n in range(6)
        for group in ("Nigerian", "Chinese")
    ]
    answers = [
        Answer(one.id, {}, logprobs=(-1.0 - 0.1 * (Swap.of(one.id).group == "Chinese"), -1.2, -3.0))
        for one in requests
    ]
    return measure_bias(requests, answers, LABELS)


def task_facts(folder: Path, skills: dict[str, float]) -> dict[str, Any]:
    tasks = {}
    for plan, guard in ((PLAN, False), (GUARD, True)):
        place = folder / "tasks" / plan.name
        place.mkdir(parents=True)
        for model, skill in skills.items():
            write_answers(place / f"{model}.parquet", words(skill), plan.measures)
        models = {model: {"f1": figure(skill)} for model, skill in skills.items()}
        tasks[plan.name] = {"plan": plan.facts(), "models": models, "items": ROWS}
        tasks[plan.name] |= {"guard": True} if guard else {}
    return {"tasks": tasks, "task_names": [PLAN.name, GUARD.name], "alpha": 0.01}


def add_tasks(folder: Path, facts: dict[str, Any]) -> None:
    for plan in (PLAN, GUARD):
        (folder / "tasks" / plan.name).mkdir(parents=True)
        for name in VARIANTS:
            write_answers(
                folder / "tasks" / plan.name / f"{name}.parquet", words(0.9), plan.measures
            )
    for found in facts["variants"].values():
        found["tasks"] = {plan.name: {"f1": figure(0.9)} for plan in (PLAN, GUARD)}
    answers = {name: {PLAN.name: words(0.9)} for name in VARIANTS}
    facts["comparisons"] = comparisons([PLAN], answers, {"base": {PLAN.name: words(0.2)}}, 0.01)


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "interval": [value - 0.1, min(1.0, value + 0.1)], "items": ROWS}


def verdict(said: str, tasks: bool) -> dict[str, Any]:
    reasons: list[dict[str, Any]] = [
        {"check": "better_than_base", "passed": True, "text": f"int8 against base: {said}"}
    ]
    facts: dict[str, Any] = {"promote": True, "ship": "int8", "reasons": reasons}
    if tasks:
        reasons += [
            {"check": "task", "passed": True, "text": "writing is better", "task": "writing"},
            {"check": "guard", "passed": False, "text": "general got worse", "guard": "general"},
            {"check": "not_worse_than_champion", "passed": True, "text": "as good as the champion"},
        ]
        facts |= {
            "promote": False,
            "guards": {
                "general": {
                    "measure": "f1",
                    "base": figure(0.9),
                    "shipped": figure(0.2),
                    "passed": False,
                }
            },
            "champion": {"there": True, "metrics": summarise(scores(0.8))},
        }
    return facts


def speeds(models: Sequence[str] = ("torch", "tuned", *VARIANTS)) -> dict[str, Any]:
    """Measured speeds, as `speed.json` holds them."""
    batch = {
        "requests": 5,
        "prompt_tokens": 128,
        "new_tokens": 12,
        "prefill_tokens_per_s": 900.0,
        "decode_tokens_per_s": 77.0,
        "latency_p50_s": 0.3,
        "latency_p95_s": 0.4,
        "token_p50_s": 0.013,
        "token_p95_s": 0.02,
        "memory_bytes": 300_000_000,
    }
    one = {"decode_tokens_per_s": 77.0, "batches": {"1": batch, "8": batch}}
    return dict.fromkeys(models, one)
