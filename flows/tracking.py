"""The MLflow run of a pipeline run: its curve, its stages and its end."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from components.contracts.artefacts import read_manifest
from flows.live import send_rest
from flows.locked import locked_hashes
from flows.recipe import Recipe, load_recipe
from flows.record import (
    Outcome,
    Registered,
    RunRecord,
    StageRecord,
    manifest_key,
    open_record,
    read_record,
)
from flows.registry import known
from flows.steps import LAST, STEPS
from flows.store import ABSENT, client

FAULTS = (MlflowException, OSError)
"""What a tracker may raise when it cannot be reached or written to."""

INPUTS = {"base": "base model", "raw": "raw", "dataset": "checked", "tokens": "training"}
"""The artefacts that stand among a run's inputs, and what they are there for."""

FILES = {
    "dataset": {"docs": "data_docs"},
    "adapter": {"curve.csv": "training"},
    "report": {".": "report"},
}
"""What a person wants to open from the run's page: path in the artefact → folder in the run."""

TICKET = "tuneline.ticket"
CURVED = "adapter"
"""What is made by the stage that has a live curve."""

MAX_PARAM = 6000


def open_run(root: Path, record: RunRecord, recipe: Recipe) -> str:
    """Return the MLflow run of a record: the one it names if that still fits, else a new one.

    A run fits while its parameters are the recipe's: parameters cannot be changed afterwards.
    """
    store = client()
    if record.mlflow_run_id and _fits(store, record.mlflow_run_id, recipe):
        store.update_run(record.mlflow_run_id, status="RUNNING")
    else:
        record.mlflow_run_id = _begin(store, root, record)
    run = record.mlflow_run_id
    store.log_batch(
        run,
        tags=_tags({"mlflow.runName": f"{record.recipe} {record.started}", **_identity(record)}),
    )
    params = _params(recipe)
    for start in range(0, len(params), 100):
        store.log_batch(run, params=params[start : start + 100])
    return run


def _begin(store: MlflowClient, root: Path, record: RunRecord) -> str:
    """Begin the run of a record, or take up the one that was begun when a crash came between."""
    experiment = open_experiment(store, root, record.recipe)
    mine = f"tags.`{TICKET}` = '{record.ticket}'"
    if record.mlflow_run_id is None and (found := store.search_runs([experiment], mine)):
        return str(found[0].info.run_id)
    return str(store.create_run(experiment, tags={TICKET: record.ticket}).info.run_id)


def run_of_dvc(root: Path, recipe: str) -> str:
    """Return the MLflow run of a plain `dvc repro`, begun now if no stage has needed it yet."""
    with open_record(root, recipe, "dvc") as record:
        return open_run(root, record, load_recipe(root, recipe))


def lineage(root: Path, recipe: str, run: str) -> dict[str, str]:
    """Return the tags that lead from a model version back to everything it was made of."""
    record = read_record(root, recipe)
    hashes = {f"dvc.{STEPS[name].output}": md5 for name, md5 in locked_hashes(root, recipe).items()}
    return {"mlflow.run_id": run, **(_identity(record) if record else {}), **hashes}


def logged_steps(run: str, name: str) -> set[int]:
    """Return the steps of a metric that a run already has."""
    return {point.step for point in client().get_metric_history(run, name)}


def log_curve(run: str, points: Sequence[tuple[int, Mapping[str, float], int]]) -> None:
    """Log (step, values, milliseconds) in as few calls as the store allows."""
    metrics = [
        Metric(name, float(value), at, step)
        for step, values, at in points
        for name, value in values.items()
        if math.isfinite(value)
    ]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run, metrics=metrics[start : start + 1000])


def record_stage(
    root: Path, run: str, recipe: str, name: str, stage: StageRecord, locked: str | None
) -> None:
    """Enter one stage into the run: outcome, maker, hash, metrics, inputs and files to look at.

    `locked` is DVC's hash of the stage's output, where dvc.lock has it already.
    """
    store = client()
    output = STEPS[name].output
    folder = root / "data" / recipe / output
    if output == CURVED:
        send_rest(root, recipe, run)
    tags: dict[str, str] = {f"stage.{name}": stage.outcome}
    if locked:
        tags[f"dvc.{output}"] = locked
    if stage.made_by and stage.made_by != run:
        tags[f"stage.{name}.made_by"] = stage.made_by
    store.log_batch(run, metrics=_metrics(_new(store, run, name, stage, folder)), tags=_tags(tags))
    if locked and output in INPUTS:
        store.log_inputs(run, [_input(recipe, output, locked)])
    for path, place in FILES.get(output, {}).items():
        source = folder / path
        if source.is_dir():
            store.log_artifacts(run, str(source), place)
        elif source.is_file():
            store.log_artifact(run, str(source), place)
    if output == "report":
        from flows.report_page import write_page

        store.log_artifact(run, str(write_page(root, recipe)), "report")  # now with speeds


def registration(folder: Path) -> Registered | None:
    """Return the model version that a registration artefact stands for, as it is now."""
    found = known(folder)
    return Registered(**asdict(found)) if found else None


def close_run(run: str, status: str) -> None:
    """End a run as FINISHED, FAILED or KILLED."""
    client().set_terminated(run, status)


def close_dead_run(run: str) -> None:
    """End a run as KILLED if it is open still; what is not there any more is no fault."""
    store = client()
    try:
        status = store.get_run(run).info.status
    except MlflowException as error:
        if error.error_code in ABSENT:
            return
        raise
    if status in ("RUNNING", "SCHEDULED"):
        store.set_terminated(run, "KILLED")


def close_dvc_run(root: Path, recipe: str, last: str | None = None) -> None:
    """Enter all stages of a plain `dvc repro`, also those that DVC skipped, and end the run.

    DVC enters the stage that is running now, `last`, in its lock only when this process has ended.
    """
    hashes: dict[str, str | None] = dict(locked_hashes(root, recipe))
    if last:
        hashes[last] = None
    with open_record(root, recipe, "dvc") as record:
        run = open_run(root, record, load_recipe(root, recipe))
        for name in hashes:
            key = manifest_key(root / "data" / recipe / STEPS[name].output)
            same = record.before.get(name, key) == key
            outcome: Outcome = "cached" if same else "restored"
            record.add_stage(name, StageRecord(outcome=outcome, manifest_sha256=key))
        record.credit()
        output = root / "data" / recipe / LAST
        if record.registration is None and output.is_dir():
            record.registration = registration(output)
        for name, stage in record.stages.items():
            record_stage(root, run, recipe, name, stage, hashes.get(name))
        record.status = "finished"
    close_run(run, "FINISHED")


def _fits(store: MlflowClient, run: str, recipe: Recipe) -> bool:
    try:
        logged = store.get_run(run).data.params
    except MlflowException:  # the store was deleted or another one is meant now
        return False
    wanted = {param.key: param.value for param in _params(recipe)}
    # The logged model adds parameters of its own.
    return not logged or wanted.items() <= logged.items()


def _params(recipe: Recipe) -> list[Param]:
    return [Param(name, value[:MAX_PARAM]) for name, value in recipe.flat().items()]


def open_experiment(store: MlflowClient, root: Path, name: str) -> str:
    """Return the id of the experiment `name`, made if it is not there."""
    known = store.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    local = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    # A SQLite store would otherwise write artefacts to ./mlruns.
    place = (root / "mlflow" / "artifacts" / name).as_uri() if local else None
    return str(store.create_experiment(name, artifact_location=place))


def _identity(record: RunRecord) -> dict[str, str]:
    before = ",".join(record.earlier_flow_run_ids)
    earlier = {"prefect.earlier_flow_run_ids": before} if before else {}
    return {
        "recipe": record.recipe,
        "door": record.door,
        "git.commit": record.git.commit or "none",
        "git.dirty": str(record.git.dirty).lower(),
        "prefect.flow_run_id": record.prefect_flow_run_id or "none",
        **earlier,
    }


def _tags(values: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in values.items()]


def _numbers(name: str, stage: StageRecord, folder: Path) -> dict[str, float]:
    """Return a stage's numbers: those of a model under its own name, others under the stage's."""
    facts = dict(read_manifest(folder)["facts"])
    parts = facts.pop("slices", {}).get("models", {}) if name == "evaluate" else {}
    models = facts.pop("models", {}) if name == "evaluate" else {}
    for variant, scored in facts.pop("variants", {}).items() if name == "verify" else ():
        models[variant] = {**scored, **scored["metrics"], "metrics": None}
        parts[variant] = models[variant].pop("slices", {})
    facts.pop("bias", None)
    for scored in models.values():
        scored.pop("bias", None)
    for model, found in parts.items():  # of hundreds of figures the one that is looked for
        worst = (found.get("worst") or {}).get("value")
        models[model] = {**models[model], "worst_slice": worst, "slices": found.get("compared")}
    numbers = dict(leaves(models)) | dict(leaves(facts, f"{name}."))
    numbers |= {f"{name}.seconds": stage.seconds} if stage.seconds is not None else {}
    rss = stage.peak_rss_bytes
    return numbers | ({f"{name}.peak_rss_mb": rss / 1e6} if rss is not None else {})


def _new(
    store: MlflowClient, run: str, name: str, stage: StageRecord, folder: Path
) -> dict[str, float]:
    """Return a stage's numbers that the run does not have: entered twice, it has one point each."""
    there = store.get_run(run).data.metrics
    numbers = {_safe(key): value for key, value in _numbers(name, stage, folder).items()}
    return {key: value for key, value in numbers.items() if there.get(key) != value}


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers inside nested JSON with dotted names; pairs become low and high."""
    if isinstance(value, bool):
        yield prefix.rstrip("."), float(value)
    elif isinstance(value, int | float):
        if math.isfinite(value):
            yield prefix.rstrip("."), float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}{key}.")
    elif isinstance(value, list) and len(value) == 2:
        yield from leaves(value[0], f"{prefix}low.")
        yield from leaves(value[1], f"{prefix}high.")


def _metrics(values: Mapping[str, float]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, 0) for name, value in values.items()]


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)


def _input(recipe: str, output: str, digest: str) -> DatasetInput:
    record = Dataset(  # a data record by its hash: no rows
        name=f"{recipe}/{output}",
        digest=digest.removesuffix(".dir"),
        source_type="local",
        source=json.dumps({"uri": f"data/{recipe}/{output}"}),
    )
    return DatasetInput(record, [InputTag("mlflow.data.context", INPUTS[output])])
