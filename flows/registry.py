"""The MLflow model registry: a logged model, its version, its aliases."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.tracking import MlflowClient

from components.contracts.artefacts import read_manifest
from flows.store import client

COMPONENTS = Path(__file__).parents[1] / "components"
CARRIED = (
    "__init__.py",
    "contracts/__init__.py",
    "contracts/errors.py",
    "contracts/lengths.py",
    "runtime",
)
"""What the registered model takes along of components/."""

NEEDED = ("jinja2", "numpy", "pydantic", "tokenizers")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
HASH = "model.sha256"


@dataclass(frozen=True)
class Shipped:
    """What is to be registered: an exported folder, how requests are put to it, an example."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    example: Mapping[str, Any]
    tags: Mapping[str, str]


def register_version(run: str, shipped: Shipped) -> str:
    """Log the model into the run and register it; return the version.

    A version that this run already made of the same bytes is returned as it is, so that a retry
    after a crash makes no second one.
    """
    store = client()
    known = find_version(store, shipped.name, shipped.tags[HASH], run)
    if known is None:
        uri = logged_before(store, run, shipped) or log_model(run, shipped)
        known = str(mlflow.register_model(uri, shipped.name).version)
    for tag, value in shipped.tags.items():
        store.set_model_version_tag(shipped.name, known, tag, value)
    return known


def logged_before(store: MlflowClient, run: str, shipped: Shipped) -> str | None:
    """Return the `models:/` address of these bytes if an earlier attempt of the run logged them.

    What such an attempt has left half logged is deleted.
    """
    experiment = store.get_run(run).info.experiment_id
    mine = f"source_run_id = '{run}' AND name = '{shipped.name}'"
    whole = None
    for model in store.search_logged_models([experiment], filter_string=mine):
        if model.status != LoggedModelStatus.READY:
            store.delete_logged_model(model.model_id)
        elif model.tags.get(HASH) == shipped.tags[HASH]:
            whole = f"models:/{model.model_id}"
    return whole


def log_model(run: str, shipped: Shipped) -> str:
    """Log the folder as a pyfunc model from code; return its `models:/` address."""
    from flows import served_model

    with TemporaryDirectory() as folder, mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name=shipped.name,
            python_model=str(served_model.__file__),
            artifacts={"model": str(shipped.folder)},
            code_paths=[str(carry(Path(folder)))],
            model_config=dict(shipped.config),
            signature=served_model.SIGNATURE,
            input_example=[dict(shipped.example)],
            pip_requirements=requirements(),
            metadata=dict(shipped.tags),
            tags={HASH: shipped.tags[HASH]},
        )
    client().update_run(run, status="RUNNING")  # leaving `start_run` has ended it
    return f"models:/{logged.model_id}"


def carry(folder: Path) -> Path:
    """Copy what the model needs of components/ and return the copy."""
    copy = folder / "components"
    for name in CARRIED:
        source, target = COMPONENTS / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return copy


def requirements() -> list[str]:
    """Return what a server of the model installs, in the versions that are here."""
    here = {str(found.metadata["Name"]).lower() for found in distributions()}
    runtime = [name for name in RUNTIMES if name in here]
    return [f"{name}=={version(name)}" for name in (*NEEDED, *runtime)]


def find_version(store: MlflowClient, name: str, digest: str, run: str | None) -> str | None:
    """Return the newest version of these bytes, of one run where `run` is given, or None."""
    found = [
        known
        for known in store.search_model_versions(f"name = '{name}'")
        if known.tags.get(HASH) == digest and run in (None, known.run_id)
    ]
    return str(max(int(known.version) for known in found)) if found else None


@dataclass(frozen=True)
class Version:
    """A model version with the aliases it has now."""

    name: str
    version: str
    aliases: list[str]


def known(registration: Path) -> Version | None:
    """Return the version that a registration artefact stands for, as the registry has it now."""
    facts = read_manifest(registration)["facts"]
    return registered(facts["name"], facts[HASH])


def registered(name: str, digest: str) -> Version | None:
    """Return the version that holds these bytes with the aliases it has now, or None."""
    store = client()
    number = find_version(store, name, digest, None)
    if number is None:
        return None
    aliases = store.get_model_version(name, number).aliases
    return Version(name=name, version=number, aliases=sorted(aliases))
