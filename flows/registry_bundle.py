"""What a version was made of, kept in its MLflow run: lock, recipe, environment."""

import json
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import yaml

from flows.store import client

FOLDER = "lineage"
LOCK, RECIPE, ENVIRONMENT, BASE = "dvc.lock", "recipe.yaml", "environment.json", "base.json"


def log_bundle(root: Path, recipe: str, run: str) -> None:
    """Log what `root` holds of a recipe's making: its part of dvc.lock, its file, the packages."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        lock = root / "dvc.lock"
        if lock.is_file():
            text = yaml.safe_dump(lock_of(lock, recipe), sort_keys=False)
            (folder / LOCK).write_text(text, encoding="utf-8")
        file = root / "recipes" / f"{recipe}.yaml"
        if file.is_file():
            (folder / RECIPE).write_bytes(file.read_bytes())
        manifest = root / "data" / recipe / "base" / "manifest.json"
        if manifest.is_file():
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            _write(folder / BASE, facts)
        _write(folder / ENVIRONMENT, environment())
        client().log_artifacts(run, str(folder), FOLDER)


def read_bundle(run: str) -> dict[str, Any]:
    """Return what `log_bundle` kept, by file name; what a run does not have is left out."""
    store = client()
    names = [Path(file.path).name for file in store.list_artifacts(run, FOLDER)]
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for name in (n for n in (LOCK, RECIPE, ENVIRONMENT, BASE) if n in names):
            uri = f"runs:/{run}/{FOLDER}/{name}"
            file = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
            text = file.read_text(encoding="utf-8")
            found[name] = text if name == RECIPE else yaml.safe_load(text)
    return found


def lock_of(file: Path, recipe: str) -> dict[str, Any]:
    """Return the stages of one recipe in a dvc.lock."""
    lock = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    stages = lock.get("stages", {})
    return {**lock, "stages": {a: s for a, s in stages.items() if a.endswith(f"@{recipe}")}}


def environment() -> dict[str, Any]:
    """Return Python's version and that of every installed distribution."""
    found = {str(one.metadata["Name"]).lower(): one.version for one in distributions()}
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "platform": sys.platform,
        "packages": dict(sorted(found.items())),
    }


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
