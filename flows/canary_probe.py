"""One check of the canary, run by the interpreter that is to be checked.

`PYTHON -m flows.canary_probe CHECK ROOT RECIPE OUT` writes OUT/CHECK.json; a check goes on from the
artefacts that the one before left in OUT. At import it needs the standard library alone: what else
is broken must show in the check, and not before.
"""

import csv
import json
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

STEPS = 50
"""Optimiser steps of the golden loss, as in tests/golden."""

ITEMS = 24


def golden(root: Path, name: str, out: Path) -> dict[str, Any]:
    """Train for a few steps and return the losses: data, tokens, model and loop are behind them."""
    line = _Line(root, name, out)
    steps = line.recipe.training.max_steps
    cap = STEPS if steps < 0 else min(steps, STEPS)
    line.change("training", max_steps=cap, resume_from_checkpoint=False)
    for stage in ("ingest", "fetch", "validate", "tokenize", "train"):
        line.run(stage)
    adapter = line.made["adapter"]
    with adapter.curve.open(encoding="utf-8", newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    return {"losses": losses, "dtype": adapter.facts["dtype"]}


def parity(root: Path, name: str, out: Path) -> dict[str, Any]:
    """Export what was trained and return how far ONNX Runtime is from torch."""
    line = _Line(root, name, out)
    quick = {"speed_repeats": 1, "speed_new_tokens": 2, "speed_batch_sizes": (1,)}
    ship = line.recipe.gate.ship
    line.change("evaluation", max_samples=ITEMS, max_text_samples=2, tasks=(), guards=(),
                slices=None, bias=None, perplexity=None)  # fmt: skip
    line.change("export", variants=tuple(dict.fromkeys([line.recipe.export.variants[0], ship])))
    line.change("verification", **quick, speed_seconds=0.01)
    for stage in ("evaluate", "export", "verify"):
        line.run(stage)
    return dict(line.made["verification"].facts["parity"])


def roundtrip(root: Path, name: str, out: Path) -> dict[str, Any]:
    """Register what was exported in an MLflow store in `out`, load it back, compare the answers.

    Raises what registering raises: `ModelError` for other answers, `RegistryError` for other bytes.
    """
    from components.contracts.kinds import Dataset, Onnx
    from components.runtime.served import question_of
    from flows.register import EXAMPLE, folder_digest, probe, serving_config
    from flows.registry import HASH, Shipped
    from flows.registry_check import inspect
    from flows.registry_transaction import Entry, commit
    from flows.store import client

    ship = _Line(root, name, out).recipe.gate.ship
    dataset, onnx = Dataset.open(out / "dataset"), Onnx.open(out / "onnx")
    digest = folder_digest(onnx, ship)
    asked = [{"text": question_of(onnx.variant(ship), EXAMPLE), "max_new_tokens": 8}]
    shipped = Shipped(
        name="canary",
        folder=onnx.variant(ship),
        config=serving_config(dataset, onnx),
        example=asked[0],
        tags={HASH: digest},
    )
    store = client()
    experiment = store.create_experiment("canary", artifact_location=(out / "store").as_uri())
    run = str(store.create_run(experiment).info.run_id)
    number = commit(run, Entry(shipped, asked, promote=False, check=probe))
    return {"version": number, "answers": inspect("canary", number, asked, digest).answers}


def packages(root: Path, name: str, out: Path) -> dict[str, Any]:
    """Return every installed distribution: version, place, what it requires, its files."""
    del root, name, out
    found: dict[str, Any] = {}
    for one in distributions():
        key = str(one.metadata["Name"]).lower().replace("_", "-")
        if key not in found:  # the first on the path is the one that is imported
            found[key] = {
                "version": one.version,
                "place": str(Path(str(one.locate_file(""))).absolute()),
                "requires": one.requires or [],
                "files": [str(file) for file in one.files or ()],
            }
    return found


CHECKS: dict[str, Callable[[Path, str, Path], dict[str, Any]]] = {
    "golden": golden,
    "parity": parity,
    "roundtrip": roundtrip,
}
TOLD = CHECKS | {"packages": packages}


class _Line:
    """The steps of a recipe as plain calls, each artefact in `out`."""

    def __init__(self, root: Path, name: str, out: Path) -> None:
        from flows.environment import stay_offline
        from flows.recipe import parse_recipe, recipe_file

        self.root, self.out = root, out
        self.recipe = parse_recipe(recipe_file(root, name))
        self.made: dict[str, Any] = {}
        if "hub" not in (self.recipe.source.kind, self.recipe.model.kind):
            stay_offline()

    def change(self, section: str, **values: Any) -> None:
        changed = getattr(self.recipe, section).model_copy(update=values)
        self.recipe = self.recipe.model_copy(update={section: changed})

    def run(self, stage: str) -> None:
        from components.contracts.events import Context
        from flows.steps import STEPS as ALL

        step = ALL[stage]
        context = Context(self.root, self.out / "scratch")
        context.scratch.mkdir(parents=True, exist_ok=True)
        inputs = [kind.open(self.out / noun) for noun, kind in step.inputs.items()]
        beside = {n: kind for n, kind in step.beside.items() if (self.out / n).is_dir()}
        named = {noun: kind.open(self.out / noun) for noun, kind in beside.items()}
        sections = [getattr(self.recipe, section) for section in step.sections]
        self.made[step.output] = step.load()(
            *inputs, *sections, out=self.out / step.output, context=context, **named
        )


def main(words: list[str]) -> int:
    """Run one check and write what it found."""
    check, root, name, out = words
    found = TOLD[check](Path(root), name, Path(out))
    (Path(out) / f"{check}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
