"""What a version must show before an alias moves to it: its bytes, and its answers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from components.contracts.artefacts import sha256
from flows.registry_errors import RegistryError
from flows.store import client

HASH = "model.sha256"
PROBES = "probes"
Request = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """What a version showed: the hash of its files, and its answers to the probe prompts."""

    sha256: str
    answers: list[str]


def inspect(name: str, number: str, requests: Sequence[Request], wanted: str | None) -> Shown:
    """Bring a version out of the store, compare its files with the hash `wanted`, and only then
    load it and let it answer.

    Raises `RegistryError` if its files are not to be had, or are others.
    """
    client()
    with TemporaryDirectory() as folder:
        uri = f"models:/{name}/{number}"
        try:
            place = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except (MlflowException, OSError) as error:
            raise RegistryError(
                f"version {number} of {name} cannot be brought out of the store: {error}",
                fix="restore its files from a backup, or choose another version",
            ) from error
        found = folder_hash(model_folder(place, f"{name}@{number}"))
        need_bytes(name, number, found, wanted)
        return Shown(found, ask(place, requests))


def ask(place: Path, requests: Sequence[Request]) -> list[str]:
    """Load a downloaded version and return its answers."""
    if not requests:
        return []
    model = mlflow.pyfunc.load_model(str(place))
    return [str(answer) for answer in model.predict([dict(request) for request in requests])]


def need_sound(name: str, number: str, *, answers: bool = True) -> Shown:
    """Check a registered version: the bytes that were registered, and the answers of that day.

    `answers=False` leaves these out. Raises `RegistryError` saying what differs.
    """
    tags = client().get_model_version(name, number).tags
    probes = json.loads(tags.get(PROBES, "[]")) if answers else []
    shown = inspect(name, number, [probe["request"] for probe in probes], tags.get(HASH))
    wrong = [
        (probe, answer)
        for probe, answer in zip(probes, shown.answers, strict=True)
        if probe["answer"] != answer
    ]
    if wrong:
        probe, answer = wrong[0]
        raise RegistryError(
            f"version {number} of {name} gives other answers than when it was registered, to "
            f"{len(wrong)} of {len(probes)} probe prompts: {answer!r} instead of "
            f"{probe['answer']!r} to {str(probe['request'].get('text'))[:80]!r}",
            fix="its bytes are right, so the machine or its libraries differ: look into it, or "
            "leave the answers out with --skip-probes",
        )
    return shown


def need_bytes(name: str, number: str, found: str, wanted: str | None) -> None:
    """Raise `RegistryError` unless the files are those whose hash was registered."""
    if wanted is None:
        raise RegistryError(
            f"version {number} of {name} bears no tag '{HASH}', so nobody can say whether its "
            "files are those that were judged",
            fix="register it with tuneline run",
        )
    if found != wanted:
        raise RegistryError(
            f"the files of version {number} of {name} are not those that were registered: "
            f"SHA-256 {found[:16]}… instead of {wanted[:16]}…",
            fix="restore them from a backup of the store, or choose another version",
        )


def model_folder(place: Path, title: str) -> Path:
    """Return the exported folder in a downloaded version; raise `RegistryError` without one."""
    flavor = mlflow.models.Model.load(str(place)).flavors.get("python_function", {})
    path = flavor.get("artifacts", {}).get("model", {}).get("path")
    if not path or not (place / path).is_dir():
        raise RegistryError(
            f"{title} holds no model that tuneline registered", fix="register it with tuneline run"
        )
    return place / str(path)


def folder_hash(folder: Path) -> str:
    """Return one SHA-256 over names and bytes, as `flows.register.folder_digest` makes it."""
    files = {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": file
        for file in folder.rglob("*")
        if file.is_file()
    }
    lines = [f"{name} {sha256(files[name])}" for name in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
