"""What people judged, in the MLflow run that made the answers."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, RunTag

from flows.record import manifest_key, read_record
from flows.store import client
from flows.tracking import FAULTS, leaves

KEPT = ("sheet.json", "ratings.jsonl", "result.json")
"""What goes into the run beside the metrics: not the pairs, which are texts of the data."""


def log_judged(root: Path, recipe: str, folder: Path, found: Mapping[str, Any]) -> str:
    """Enter the result of a sheet into its run; return what to tell.

    Without a known run, or where MLflow does not answer, the result is in `folder` alone: that is
    said, and no fault.
    """
    run = run_of(root, recipe, found["made_from"])
    if run is None:
        return f"no MLflow run is known to have made these answers: the result is in {folder}"
    values = {
        key: found[key] for key in ("overall", "ratings", "pairs", "same", "items", "agreement")
    }
    numbers = dict(leaves({**values, "raters": len(found["raters"])}, f"judged.{folder.name}."))
    now = int(time.time() * 1000)
    try:
        store = client()
        store.log_batch(
            run,
            metrics=[Metric(safe(name), value, now, 0) for name, value in numbers.items()],
            tags=[RunTag(f"judged.{safe(folder.name)}", found["overall"]["words"])],
        )
        for name in KEPT:
            store.log_artifact(run, str(folder / name), f"judged/{folder.name}")
    except FAULTS as error:
        return f"the result is in {folder}; MLflow did not take it: {error}"
    return f"entered into MLflow run {run}"


def run_of(root: Path, recipe: str, made_from: Mapping[str, str]) -> str | None:
    """Return the run that made the artefact with the answers (of several the latest stage's)."""
    record = read_record(root, recipe)
    if record is None:
        return None
    for name in ("verification", "onnx", "evaluation", "adapter", "base"):
        key = manifest_key(root / "data" / recipe / name) if name in made_from else None
        if key in record.makers:
            return record.makers[key]
    return record.mlflow_run_id


def safe(name: str) -> str:
    """Return a name that MLflow allows."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
