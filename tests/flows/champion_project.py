"""A project whose registry holds a version made of an earlier state of its data: no model in it."""

import shutil
from pathlib import Path
from typing import Any

from data_project import done
from toy_project import Toy

from flows.locked import locked_hashes

NAME = "tiny"
OLD, NEW = "HEAD~1", "HEAD"


def give_store(project: Toy, template: Path) -> None:
    """Copy an empty MLflow store: making one takes seconds."""
    (project.root / "mlflow").mkdir(exist_ok=True)
    shutil.copy(template / "mlflow" / "mlflow.db", project.root / "mlflow" / "mlflow.db")


def register(project: Toy, revision: str, *, champion: bool, verdict: str = "promote") -> str:
    """Register a version with the lineage of the data at a revision; return its run."""
    from flows.registry_bundle import log_bundle
    from flows.store import client

    store, root = client(), project.root
    lock = root / "dvc.lock"
    now = lock.read_bytes()
    lock.write_text(done(project, "git", "show", f"{revision}:dvc.lock"), encoding="utf-8")
    try:
        known = store.get_experiment_by_name(NAME)
        place = (root / "mlflow/artifacts" / NAME).as_uri()
        experiment = known.experiment_id if known else store.create_experiment(NAME, place)
        run: str = store.create_run(experiment).info.run_id
        log_bundle(root, NAME, run)
        dataset = locked_hashes(root, NAME)["validate"]
    finally:
        lock.write_bytes(now)
    if NAME not in [model.name for model in store.search_registered_models()]:
        store.create_registered_model(NAME)
    version: Any = store.create_model_version(NAME, (root / "nothing").as_uri(), run_id=run)
    tags = {"recipe": NAME, "dvc.dataset": dataset, "verdict": verdict}
    for name, value in tags.items():
        store.set_model_version_tag(NAME, version.version, name, value)
    if champion:
        store.set_registered_model_alias(NAME, "champion", version.version)
    return run
