"""A sweep in MLflow: one parent run, one nested child run a trial."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from flows.store import client
from flows.sweep_trials import METRIC, Trial
from flows.tracking import open_experiment

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
"""How a trial's end reads in MLflow."""


def open_parent(root: Path, recipe: str, run: str | None, settings: Mapping[str, Any]) -> str:
    """Return the MLflow run of a sweep: `run` if the store has it, else a new one.

    It stands in the experiment RECIPE-sweep, so that the recipe's own holds only whole runs.
    """
    store = client()
    if run and _known(store, run):
        store.update_run(run, status="RUNNING")
        return run
    experiment = open_experiment(store, root, f"{recipe}-sweep")
    name = f"{recipe} sweep {time.strftime('%Y-%m-%d %H:%M', time.gmtime())}"
    made = store.create_run(experiment, run_name=name, tags={"recipe": recipe, "kind": "sweep"})
    identity: str = made.info.run_id
    params = [Param(key, str(value)[:6000]) for key, value in settings.items()]
    store.log_batch(identity, params=params)
    return identity


def open_trial(parent: str, number: int, parameters: Mapping[str, Any]) -> str:
    """Begin the MLflow run of a trial, below that of its sweep."""
    store = client()
    experiment = store.get_run(parent).info.experiment_id
    run = store.create_run(
        experiment,
        run_name=f"trial {number}",
        tags={"mlflow.parentRunId": parent, "kind": "trial"},
    )
    identity: str = run.info.run_id
    params = [Param(key, str(value)[:6000]) for key, value in parameters.items()]
    store.log_batch(identity, params=params)
    return identity


def close_trial(trial: Trial) -> None:
    """Enter a trial's end into its run."""
    run, result = trial.spec.run, trial.result
    if run is None or result is None:
        return
    now = int(time.time() * 1000)
    values = {"seconds": result.seconds}
    if result.value is not None:
        values[f"best_{METRIC}"] = result.value
    metrics = [Metric(name, value, now, 0) for name, value in values.items()]
    tags = [RunTag("trial.state", result.state)]
    tags += [RunTag("trial.message", result.message[:5000])] if result.message else []
    client().log_batch(run, metrics=metrics, tags=tags)
    client().set_terminated(run, STATUS[result.state])


def close_parent(run: str, best: Trial | None, status: str) -> None:
    """End a sweep's run; the best trial is named in its tags and its loss in its metrics."""
    if best is not None and best.result is not None and best.result.value is not None:
        now = int(time.time() * 1000)
        tags = [RunTag("best.trial", str(best.spec.number)), RunTag("best.run", str(best.spec.run))]
        tags += [RunTag(f"best.{key}", str(v)[:5000]) for key, v in best.spec.parameters.items()]
        value = Metric(f"best_{METRIC}", best.result.value, now, 0)
        client().log_batch(run, metrics=[value], tags=tags)
    client().set_terminated(run, status)


def _known(store: MlflowClient, run: str) -> bool:
    try:
        store.get_run(run)
    except MlflowException:  # the store was deleted or another one is meant now
        return False
    return True
