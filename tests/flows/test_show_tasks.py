"""Tasks and guards at the terminal, of every model that answered them."""

from typing import Any

from rich.console import Console

from flows.show import show
from flows.summary import LineFacts, VerdictFacts
from flows.task_facts import task_facts


def figure(value: float, **more: Any) -> dict[str, Any]:
    return {"acc": {"value": value, "interval": [value - 0.1, value + 0.1], "items": 40}, **more}


def plan(task: str, *measures: str) -> dict[str, Any]:
    return {"task": task, "measures": list(measures)}


EVALUATION = {
    "task_names": ["quiz", "bleu", "general"],
    "tasks": {
        "general": {
            "plan": plan("choice", "acc"),
            "guard": True,
            "models": {"base": figure(0.8), "tuned": figure(0.7)},
        },
        "quiz": {
            "plan": plan("choice", "acc"),
            "models": {"base": figure(0.3), "base_fewshot": figure(0.4), "tuned": figure(0.5)},
        },
        "bleu": {"plan": plan("lm_eval"), "models": {"base": {}}},
    },
}
VERIFICATION = {
    "variants": {"int8": {"tasks": {"quiz": figure(0.49), "general": figure(0.69)}}},
    "champion": {"tasks": {"quiz": figure(0.45)}},
}


def test_tasks_stand_in_their_order_with_every_model() -> None:
    found = task_facts(EVALUATION, VERIFICATION)
    assert list(found) == ["quiz", "general"], "one without a measure is left out"
    assert list(found["quiz"].models) == ["base", "base_fewshot", "tuned", "int8", "champion"]
    assert found["quiz"].models["int8"] == (0.49, 0.39, 0.59)
    assert (found["quiz"].guard, found["general"].guard) == (False, True)
    assert task_facts({}, {}) == {}


def test_they_are_printed_with_the_interval_of_the_file_to_ship() -> None:
    facts = LineFacts(
        recipe="mine",
        run=None,
        artefacts={},
        models={},
        tasks=task_facts(EVALUATION, VERIFICATION),
        verdict=VerdictFacts(promote=True, ship="int8", reasons=[]),
        registration=None,
    )
    console = Console(width=80)
    with console.capture() as captured:
        show(facts, console, details=False)
    said = captured.get()
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.split()}
    assert rows["quiz"] == [
        "acc",
        "0.300",
        "0.400",
        "0.500",
        "0.490",
        "0.390",
        "…",
        "0.590",
        "0.450",
    ]
    assert rows["general"] == ["acc", "0.800", "0.700", "0.690", "0.590", "…", "0.790"]
    assert rows["guards:"], "they stand by themselves"
