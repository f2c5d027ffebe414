"""Asking the toy line what a run through one of its doors has left."""

from typing import Any

from toy_project import Toy

from flows.record import RunRecord, read_record


def through_flow(**given: Any) -> Any:
    from flows.finetune import finetune

    return finetune("toy", return_state=True, **given)


def record_of(toy: Toy) -> RunRecord:
    record = read_record(toy.root, "toy")
    assert record is not None
    return record


def outcomes(toy: Toy) -> dict[str, str]:
    return {name: stage.outcome for name, stage in record_of(toy).stages.items()}


def manifests(toy: Toy) -> dict[str, str]:
    files = sorted((toy.root / "data" / "toy").glob("*/manifest.json"))
    return {file.parent.name: file.read_text(encoding="utf-8") for file in files}


def mlflow_run(run: str | None) -> Any:
    from flows.store import client

    assert run is not None
    return client().get_run(run)


def mlflow_runs() -> list[str]:
    from flows.store import client

    experiment = client().get_experiment_by_name("toy")
    return [run.info.run_id for run in client().search_runs([experiment.experiment_id])]
