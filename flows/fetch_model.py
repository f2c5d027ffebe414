"""A version of the MLflow registry, on this disk and with the bytes that were registered."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.exceptions import MlflowException

from components.contracts.errors import ModelError, did_you_mean
from components.runtime.session import Device
from flows.environment import state_folder
from flows.model_ref import Found, Reference, logged_model
from flows.registry import HASH
from flows.registry_check import folder_hash
from flows.store import client


def fetch_version(root: Path, reference: Reference, *, device: Device | None = None) -> Found:
    """Return the version that `reference` names, downloaded once if the store is elsewhere.

    Raises `ModelError` for a name, alias or version that is not there, and for files whose hash is
    not the one that was registered.
    """
    number = current_version(reference)
    folder = _bring(root, reference.name, number)
    found = logged_model(folder, reference.name, number, device)
    need_same_bytes(found)
    return found


def current_version(reference: Reference) -> str:
    """Return the version's number now: an alias moves. Raises `ModelError` if it names none."""
    store = client()
    try:
        if reference.alias:
            found = store.get_model_version_by_alias(reference.name, reference.alias)
        else:
            found = store.get_model_version(reference.name, str(reference.version))
    except MlflowException as error:
        raise _missing(reference) from error
    return str(found.version)


def need_same_bytes(found: Found) -> None:
    """Raise `ModelError` unless the files are those whose hash the version was tagged with."""
    wanted = client().get_model_version(found.name, found.version).tags.get(HASH)
    if wanted and folder_hash(found.folder) != wanted:
        raise ModelError(
            f"the files of {found.title} in {found.folder} are not those that were registered",
            fix="restore them from a backup of the store, or promote another version",
        )


def _bring(root: Path, name: str, number: str) -> Path:
    """Return the version's folder: the store's own where it is on this disk, else a copy."""
    uri = client().get_model_version_download_uri(name, number)
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path))
    kept = state_folder(root) / "models" / name / number
    if not kept.is_dir():
        half = kept.with_name(f".{number}.tmp")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        got = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(half))
        Path(got).rename(kept)  # a folder with the right name is whole
        shutil.rmtree(half, ignore_errors=True)
    return kept


def _missing(reference: Reference) -> ModelError:
    """Say what the registry has instead."""
    store = client()
    names = [str(model.name) for model in store.search_registered_models()]
    if reference.name not in names:
        return ModelError(
            f"the registry has no model '{reference.name}'{did_you_mean(reference.name, names)}",
            fix=f"use one of: {', '.join(names)}" if names else "tuneline run RECIPE makes one",
        )
    aliases = dict(store.get_registered_model(reference.name).aliases)
    versions = store.search_model_versions(f"name = '{reference.name}'")
    numbers = sorted(int(found.version) for found in versions)
    told = ", ".join([*(f"@{alias}" for alias in sorted(aliases)), *(f"/{n}" for n in numbers)])
    hint = did_you_mean(reference.alias, aliases) if reference.alias else ""
    return ModelError(
        f"the registry has no {reference}{hint}", fix=f"{reference.name} has: {told or 'nothing'}"
    )
