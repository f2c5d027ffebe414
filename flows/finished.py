"""What a stage has finished, kept until DVC has it in its lock.

Between the two DVC hashes and copies the output: seconds for a large model. Who is killed then
finds the output deleted and the stage run again, a whole training, as its checkpoints are gone.
So the stage door keeps the artefact beside (hard links: no room, no time), and the same call with
the same inputs, settings and code lays it back. The flow throws it away once the lock has it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from components.contracts.artefacts import MANIFEST, Artefact, sha256
from components.contracts.settings import Settings
from flows.environment import state_folder
from flows.intact import is_intact
from flows.steps import LAST

KEY = "key"
OUTSIDE = {LAST, "champion"}
"""Artefacts that also depend on the registry, which no hash covers."""


def keep(root: Path, name: str, recipe: str, key: str, made: Artefact) -> None:
    """Keep what a stage has made under the digest of all that it was made from."""
    folder = _folder(root, name, recipe)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _link(made.path, folder / "artefact")
    (folder / KEY).write_text(key, encoding="ascii")


def take_back(root: Path, name: str, recipe: str, key: str, out: Path) -> bool:
    """Lay what was kept under this digest to `out`; say whether there was something."""
    folder = _folder(root, name, recipe)
    kept = folder / "artefact"
    if not (folder / KEY).is_file() or (folder / KEY).read_text(encoding="ascii") != key:
        return False
    if not is_intact(kept):
        return False
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    _link(kept, temporary)
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
    return True


def forget(root: Path, recipe: str, name: str = "") -> None:
    """Throw away what was kept of a stage, or of all stages of a recipe."""
    shutil.rmtree(_folder(root, name, recipe), ignore_errors=True)


def key_of(root: Path, name: str, recipe: str, sections: list[Settings], output: str) -> str | None:
    """Return a digest of all that a stage is made from; `None` where no digest can tell.

    What it reads is what dvc.yaml names: of an artefact the manifest counts, of other data below
    data/ names, sizes and times of change, of code the bytes.
    """
    if output in OUTSIDE:
        return None
    graph: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    stage = graph.get("stages", {}).get(name, {})
    lines = [name, str(stage.get("cmd")), *(section.model_dump_json() for section in sections)]
    for dependency in stage.get("deps", []):
        path = root / str(dependency).replace("${item.recipe}", recipe)
        lines += [f"{file.relative_to(root)} {told}" for file, told in _read(path, root / "data")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read(path: Path, data: Path) -> Iterator[tuple[Path, str]]:
    if (path / MANIFEST).is_file():
        yield path, sha256(path / MANIFEST)
        return
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    for file in files:
        if "__pycache__" in file.parts:
            continue
        about = file.stat()
        if file.is_relative_to(data):
            yield file, f"{about.st_size} {about.st_mtime_ns}"
        else:
            yield file, sha256(file)


def _link(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, copy_function=os.link)
    except (OSError, shutil.Error):  # a file system without hard links, or another disk
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def _folder(root: Path, name: str, recipe: str) -> Path:
    return state_folder(root) / "finished" / recipe / name
