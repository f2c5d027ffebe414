"""A bisect in MLflow: a run with a child for each version that was measured; in Prefect a table."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from flows.bisect_result import Bisected
from flows.store import client

FAULTS = (MlflowException, OSError)
PARENT = "mlflow.parentRunId"


def log_bisected(root: Path, found: Bisected) -> str:
    """Enter a result into the experiment `RECIPE bisect`; return what to tell.

    Where MLflow does not answer, that is said and is no fault.
    """
    try:
        store = client()
        experiment = _experiment(store, root, f"{found.recipe} bisect")
        parent = _run(
            store,
            experiment,
            f"{found.metric} {found.good[:8]}..{found.bad[:8]}",
            {"outcome": found.outcome, "words": found.words(), "metric": found.metric},
            {"good": found.good_figure, "bad": found.bad_figure, "margin": found.margin,
             "measured": found.measured, "trained": found.trained},
        )  # fmt: skip
        store.log_dict(parent, found.model_dump(), "bisect.json")
        for name, tags, figure in _children(found):
            _run(store, experiment, name, {PARENT: parent, **tags}, {found.metric: figure})
        store.set_terminated(parent, "FINISHED")
    except FAULTS as error:
        return f"MLflow did not take the result: {error}"
    return f"entered into MLflow run {parent}"


def publish(found: Bisected) -> None:
    """Leave a table with the calling Prefect flow run, if there is one."""
    if "prefect" not in sys.modules:
        return
    from prefect.artifacts import create_table_artifact
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    rows = [
        {"commit": one.commit[:8], "date": one.date, found.metric: one.figure,
         "verdict": one.verdict, "subject": one.subject}
        for one in found.versions
    ]  # fmt: skip
    create_table_artifact(
        table=rows,
        key=f"{found.recipe}-bisect".lower().replace("_", "-"),
        description=found.words(),
    )


def _children(found: Bisected) -> list[tuple[str, dict[str, str], float]]:
    """Return name, tags and figure of everything that was measured."""
    versions = [
        (
            f"{one.commit[:8]} {one.subject}"[:200],
            {"git.commit": one.commit, "verdict": one.verdict},
            one.figure,
        )
        for one in found.versions
    ]
    files = [
        (f"up to {one.upto}"[:200], {"file": one.upto, "verdict": one.verdict}, one.figure)
        for one in found.files[:-1]  # the last is the bad version itself
    ]
    return [
        (name, tags, figure) for name, tags, figure in [*versions, *files] if figure is not None
    ]


def _run(
    store: MlflowClient,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> str:
    run = str(store.create_run(experiment, run_name=name).info.run_id)
    now = int(time.time() * 1000)
    store.log_batch(
        run,
        metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
        tags=[RunTag(key, value[:4000]) for key, value in tags.items()],
    )
    if PARENT in tags:
        store.set_terminated(run, "FINISHED")
    return run


def _experiment(store: MlflowClient, root: Path, name: str) -> str:
    known = store.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    local = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    # A SQLite store would otherwise write artefacts to ./mlruns.
    place = (root / "mlflow" / "artifacts" / name).as_uri() if local else None
    return str(store.create_experiment(name, artifact_location=place))
