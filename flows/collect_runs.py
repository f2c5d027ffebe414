"""MLflow's files: which runs and logged models somebody needs, and which can go."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from flows.collect_cache import hashes_of_lock
from flows.recipe import recipes_in
from flows.registry_bundle import LOCK, read_bundle
from flows.store import ABSENT, client

TAG = "files"
"""The tag of a run whose files were taken away."""

PAGE = 200


@dataclass(frozen=True)
class Kept:
    """What versions and recent runs need: ids in MLflow and DVC's hashes."""

    runs: set[str]
    models: set[str]
    hashes: set[str]


@dataclass(frozen=True)
class RunWaste:
    """Files in MLflow that nobody needs: those of a run, or a logged model. `where`: address."""

    kind: str
    id: str
    recipe: str
    where: str
    bytes: int


def kept_in_store(root: Path, keep_runs: int) -> Kept:
    """Return what all registered versions, runs under way and the last runs of each recipe need."""
    store = client()
    kept = Kept(set(), set(), set())
    for version in _versions(store):
        tags = dict(version.tags or {})
        run = tags.get("mlflow.run_id") or version.run_id
        kept.models.update(_models_of(version))
        _keep_tags(kept, tags)
        if run:
            kept.runs.add(run)
            kept.hashes.update(hashes_of_lock(_bundle(run).get(LOCK) or {}))
    for recipe in recipes_in(root):
        for number, run in enumerate(_runs(store, recipe)):
            if number < keep_runs or run.info.status == "RUNNING" or run.info.run_id in kept.runs:
                kept.runs.add(run.info.run_id)
                _keep_tags(kept, run.data.tags)
    return kept


def run_waste(root: Path, kept: Kept) -> list[RunWaste]:
    """Return the files of the line's own runs and models that are not kept, largest first."""
    store = client()
    found = []
    for recipe in recipes_in(root):
        others = {}
        for run in _runs(store, recipe):
            if run.info.run_id not in kept.runs:
                others[run.info.run_id] = run
        for name, run in others.items():
            size = _bytes(str(run.info.artifact_uri))
            if size:
                found.append(RunWaste("run", name, recipe, str(run.info.artifact_uri), size))
        for model in _models(store, recipe):
            if model.source_run_id in others and model.model_id not in kept.models:
                where = str(model.artifact_location)
                found.append(RunWaste("model", model.model_id, recipe, where, _bytes(where)))
    return sorted(found, key=lambda one: -one.bytes)


def drop_runs(waste: list[RunWaste]) -> None:
    """Delete files; a run keeps its parameters, metrics and tags, and is marked."""
    store = client()
    for one in waste:
        repository: Any = get_artifact_repository(one.where)
        repository.delete_artifacts()
        if one.kind == "model":
            store.delete_logged_model(one.id)
        else:
            store.set_tag(one.id, TAG, "taken away by tuneline gc")


def _keep_tags(kept: Kept, tags: dict[str, str]) -> None:
    kept.hashes.update(value for key, value in tags.items() if key.startswith("dvc."))


def _bundle(run: str) -> dict[str, Any]:
    """Return what a version's run keeps of its making; nothing for a run that is gone."""
    try:
        return read_bundle(run)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return {}
        raise


def _versions(store: MlflowClient) -> Iterator[Any]:
    token = None
    while True:
        page = store.search_model_versions(max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _models_of(version: Any) -> Iterator[str]:
    """Yield the logged model that a version is: by its own field, or by its source."""
    if getattr(version, "model_id", None):
        yield str(version.model_id)
    source = str(version.source or "")
    if source.startswith("models:/"):
        yield source.removeprefix("models:/").split("/")[0]


def _runs(store: MlflowClient, recipe: str) -> Iterator[Run]:
    """Yield the runs of a recipe that the line has made, the newest first."""
    experiment = store.get_experiment_by_name(recipe)
    token = None
    while experiment is not None:
        page = store.search_runs(
            [experiment.experiment_id],
            filter_string=f"tags.recipe = '{recipe}'",
            order_by=["attributes.start_time DESC"],
            max_results=PAGE,
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _models(store: MlflowClient, recipe: str) -> Iterator[Any]:
    experiment = store.get_experiment_by_name(recipe)
    token = None
    while experiment is not None:
        page = store.search_logged_models([experiment.experiment_id], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _bytes(where: str) -> int:
    """Return the bytes below an address of any store."""
    repository = get_artifact_repository(where)
    total, folders = 0, [""]
    while folders:
        for one in repository.list_artifacts(folders.pop() or None):
            if one.is_dir:
                folders.append(one.path)
            else:
                total += int(one.file_size or 0)
    return total
