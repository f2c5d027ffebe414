"""Which model is meant: `NAME@champion`, `NAME@3`, `NAME/3`, `models:/…`, or a folder of files."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.contracts.artefacts import read_manifest
from components.contracts.errors import ArtefactError, ModelError
from components.formats.serving import serving_of
from components.runtime.served import WRITERS, writes
from components.runtime.session import Device
from components.runtime.shape import Shape

CHAMPION = "champion"
REGISTERED = re.compile(
    r"^(?:models:/)?(?P<name>[^/:@]+)(?:@(?P<alias>[^/:@]+)|/(?P<version>\d+))?$"
)
KNOWN = tuple(WRITERS)
"""Files that tell an exported model which answers with text."""


@dataclass(frozen=True)
class Reference:
    """A name in the registry with a version or an alias."""

    name: str
    version: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.alias else f"{self.name}/{self.version}"


@dataclass(frozen=True)
class Found:
    """A model on disk: its files, how it is asked, and what it is called.

    `version` is empty for a folder that no registry knows.
    """

    folder: Path
    shape: Shape
    device: Device
    name: str
    version: str = ""

    @property
    def title(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name


def parse_reference(text: str) -> Reference | Path:
    """Return what `text` names; a folder that is there goes before a name in the registry.

    Raises `ModelError` for what is neither.
    """
    if Path(text).is_dir():
        return Path(text)
    found = REGISTERED.match(text)
    if not found:
        raise ModelError(
            f"'{text}' is neither a folder nor a model in the registry",
            fix="write NAME@champion, NAME@VERSION, models:/NAME/VERSION or the path of a folder",
        )
    name, alias, version = found["name"], found["alias"], found["version"]
    if alias and alias.isdigit():  # as `tuneline lineage NAME@3` reads it
        version, alias = alias, None
    return Reference(name, version, alias or (None if version else CHAMPION))


def find_model(root: Path | None, text: str, *, device: Device | None = None) -> Found:
    """Return the model that `text` names, brought here from the registry if need be.

    `root` is the project, whose registry is asked; a folder needs none. Raises `ModelError` for a
    model that is not there, or whose bytes are not those that were registered.
    """
    reference = parse_reference(text)
    if isinstance(reference, Path):
        return in_folder(reference, device=device)
    if root is None:
        raise ModelError(
            f"there is no project here whose registry could hold '{reference}'",
            fix="change into the project's folder, or name a folder of files",
        )
    from flows.fetch_model import fetch_version

    return fetch_version(root, reference, device=device)


def in_folder(folder: Path, *, device: Device | None = None) -> Found:
    """Return the model in a folder: a registered one's download, or an exported variant.

    A variant below `data/RECIPE/onnx/` is asked as the dataset beside it says; a folder that says
    nothing is asked through its chat template, or as plain text where it has none.
    """
    if (folder / "MLmodel").is_file():
        return logged_model(folder, folder.name, "", device)
    if not writes(folder):
        inside = sorted(found.parent.name for name in KNOWN for found in folder.glob(f"*/{name}"))
        raise ModelError(
            f"{folder} holds no exported model: it has no {' and no '.join(KNOWN)}",
            fix=f"name one of its folders: {', '.join(inside)}" if inside else "run the export",
        )
    config = config_beside(folder.resolve())
    return Found(folder, Shape.of(config), device or config.get("device", "cpu"), str(folder))


def config_beside(folder: Path) -> dict[str, Any]:
    """Return how the variant in `folder` is asked, from the artefacts of the line around it."""
    export, dataset = folder.parent, folder.parent.parent / "dataset"
    try:
        device = read_manifest(export)["facts"].get("execution_provider", "cpu")
        facts = read_manifest(dataset)["facts"]
    except ArtefactError:
        device, facts = "cpu", {}
    if "format" in facts:
        return {**serving_of(facts["format"])._asdict(), "device": device}
    return {"plain": not has_template(folder), "device": device}


def has_template(folder: Path) -> bool:
    """Say whether a model folder has a chat template."""
    file = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (
        file.is_file() and '"chat_template"' in file.read_text(encoding="utf-8")
    )


def logged_model(folder: Path, name: str, version: str, device: Device | None) -> Found:
    """Return the model in a folder that MLflow wrote; raise `ModelError` if it is not one of ours.

    What the folder says of itself counts: it was written when the version was made.
    """
    logged = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    pyfunc = logged.get("flavors", {}).get("python_function", {})
    place = pyfunc.get("artifacts", {}).get("model", {}).get("path")
    if not place or not writes(folder / place):
        raise ModelError(
            f"{name} {version} in {folder} is not a model that tuneline registered",
            fix="ask it through mlflow.pyfunc.load_model",
        )
    config = pyfunc.get("config") or {}
    where = device or config.get("device") or "cpu"
    return Found(folder / place, Shape.of(config), where, name, version)
