"""Local files and folders: only under `data/inputs/`, where DVC sees every change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.artefacts import sha256
from components.contracts.errors import SourceError, did_you_mean
from components.contracts.events import Context
from components.sources.model_folder import copy_model
from components.sources.origin import Origin
from components.sources.readers import read_rows
from components.sources.settings import FileModel, FileRows

INPUTS = Path("data") / "inputs"


@contextmanager
def open_rows(settings: FileRows, context: Context) -> Iterator[Origin]:
    """Give the rows of a local file."""
    file = find(settings.path, context.root)
    if not file.is_file():
        raise SourceError(f"{settings.path} is a folder, but a file of rows is needed")
    facts = {"kind": "file", "name": settings.path, "sha256": sha256(file)}
    yield Origin(file.name, settings.license, facts, read_rows(file, settings.read))


def bring_model(settings: FileModel, folder: Path, context: Context) -> None:
    """Copy a local model folder to `folder`."""
    copy_model(find(settings.path, context.root), folder, settings.path)


def find(path: str, root: Path) -> Path:
    """Return the file or folder that `path` means below `root`, or raise `SourceError`."""
    # Not resolve(): DVC may keep a tracked file as a link into its cache.
    inputs = Path(os.path.normpath((root / INPUTS).absolute()))
    place = Path(os.path.normpath((root / path).absolute()))
    if not place.is_relative_to(inputs):
        raise SourceError(
            f"{path} lies outside of {INPUTS}/: DVC would not see it change, so the line would "
            "go on with old results",
            fix=f"move it to {INPUTS}/RECIPE/ and name that path in the recipe",
        )
    if not place.exists():
        there = sorted(f.relative_to(root.absolute()).as_posix() for f in _files(inputs))
        raise SourceError(
            f"{path} does not exist{did_you_mean(path, there)}",
            fix=f"files there: {', '.join(there[:10]) or 'none'}",
        )
    return place


def _files(inputs: Path) -> list[Path]:
    return [file for file in inputs.rglob("*") if file.is_file() and file.name[0] != "."]
