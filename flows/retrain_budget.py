"""The hours that a recipe has taken this month, as its MLflow runs tell."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.retraining.facts import BudgetFacts
from flows.doctor import nvidia_gpus
from flows.graph import read_graph

TRAINED = "train.seconds"
PAGE = 1000


def month_begins(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def budget(root: Path, recipe: str, now: datetime | None = None) -> BudgetFacts:
    """Return the hours of all runs that began this calendar month (UTC), and of the last fine-tune.

    With an NVIDIA GPU here: those of the stages that hold it (`gpu: true` under their meta in
    dvc.yaml). Without: those of `train` alone. A training that failed counts as long as its curve.
    """
    gpu = bool(nvidia_gpus())
    stages = [s.name for s in read_graph(root, recipe) if s.options.gpu] if gpu else ["train"]
    begin = month_begins(now or datetime.now(UTC))
    used = sum(_seconds(run, stages) for run in _runs(recipe, begin))
    return BudgetFacts(
        used_hours=round(used / 3600, 4),
        forecast_hours=round(_last(recipe, stages) / 3600, 4),
        accelerator=gpu,
    )


def _runs(recipe: str, begin: datetime) -> Iterator[Any]:
    from flows.store import client

    store = client()
    experiment = store.get_experiment_by_name(recipe)
    if experiment is None:
        return
    wanted = f"attributes.start_time >= {int(begin.timestamp() * 1000)}"
    token: str | None = None
    while True:
        page = store.search_runs(
            [experiment.experiment_id], filter_string=wanted, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _last(recipe: str, stages: Sequence[str]) -> float:
    """Return the seconds of the newest run that has trained; 0 if none has."""
    from flows.store import client

    store = client()
    experiment = store.get_experiment_by_name(recipe)
    if experiment is None:
        return 0.0
    found = store.search_runs(
        [experiment.experiment_id],
        filter_string=f"metrics.`{TRAINED}` > 0",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return _seconds(found[0], stages) if found else 0.0


def _seconds(run: Any, stages: Sequence[str]) -> float:
    """Return what a run took. A stage has its seconds only in the run that really ran it."""
    metrics = run.data.metrics
    told = sum(float(metrics.get(f"{stage}.seconds", 0.0)) for stage in stages)
    return told + (_curve(run) if TRAINED not in metrics and "loss" in metrics else 0.0)


def _curve(run: Any) -> float:
    """Return the seconds from the first to the last point of a training that did not end well."""
    from flows.store import client

    history = client().get_metric_history(run.info.run_id, "loss")
    times = [point.timestamp for point in history]
    return (max(times) - min(times)) / 1000 if times else 0.0
