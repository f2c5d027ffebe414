"""The real stage door with steps that take no time. A file knobs/STAGE says how one behaves."""

import sys
import time
from pathlib import Path
from typing import Any

from components.contracts import kinds
from components.contracts.artefacts import Artefact
from components.contracts.errors import DataError, UnreachableError
from components.contracts.events import Context
from flows.stage import main
from flows.steps import STEPS, Step

KINDS = {
    "ingest": kinds.Raw,
    "fetch": kinds.BaseModelFolder,
    "train": kinds.Adapter,
    "evaluate": kinds.Evaluation,
    "verify": kinds.Verification,
    "gate": kinds.Verdict,
    "register": kinds.Registration,
}
MODELS = {
    "base": {"accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "perplexity": 20.0, "items": 100},
    "tuned": {"accuracy": 0.9, "accuracy_interval": [0.8, 0.95], "perplexity": 9.0, "items": 100},
}
FACTS: dict[str, dict[str, Any]] = {
    "evaluate": {"models": MODELS},
    "verify": {"variants": {"int8": {"bytes": 1_000_000, "metrics": MODELS["tuned"]}}},
    "register": {"name": "toy-model", "model.sha256": "0" * 64},
    "gate": {
        "promote": True,
        "ship": "int8",
        "reasons": [{"check": "items", "passed": True, "text": "100 held-out items"}],
    },
}


def behave(name: str, context: Context) -> str:
    """Do what the knob says; return it, because it is what the stage makes."""
    knob = (context.root / "knobs" / name).read_text(encoding="utf-8").strip()
    with (context.root / "calls.log").open("a", encoding="utf-8") as calls:
        calls.write(f"{name}\n")
    if knob == "bad data":
        raise DataError("row 3 has no label", fix="give it one")
    marker = context.scratch / f"{name}.tried"
    if knob == "bad data once" and not marker.exists():
        marker.touch()
        raise DataError("row 3 has no label")
    if knob == "unreachable once" and not marker.exists():
        marker.touch()
        raise UnreachableError("the index does not answer")
    if knob.startswith("sleep"):
        time.sleep(float(knob.split()[1]))
    return knob


def step_of(name: str) -> Any:
    kind: type[Artefact] = KINDS[name]

    def step(*given: Any, out: Path, context: Context) -> Artefact:
        knob = behave(name, context)
        if knob == "curve":
            for number in range(1, 4):
                context.events.metrics(number, {"loss": 1 / number, "learning_rate": 0.1})
                context.events.progress("train", number, 3)
        with kind.write(out) as draft:
            (draft.folder / "made.txt").write_text(f"{name} {knob}\n", encoding="utf-8")
            draft.facts = facts_of(name, knob)
        return kind.open(out)

    return step


def facts_of(name: str, knob: str) -> dict[str, Any]:
    """Return what a stage tells; "accuracy 0.93" makes the tuned model that good."""
    facts = FACTS.get(name, {"rows": 3})
    if not knob.startswith("accuracy"):
        return facts
    tuned = {**MODELS["tuned"], "accuracy": float(knob.split()[1])}
    return {**facts, "models": {**MODELS, "tuned": tuned}}


class ToyStep(Step):
    def load(self) -> Any:
        return step_of(next(name for name, step in TOY.items() if step is self))


TOY = {
    name: ToyStep(STEPS[name].function, {}, STEPS[name].sections, STEPS[name].output)
    for name in KINDS
}

if __name__ == "__main__":
    sys.exit(main(steps=TOY))
