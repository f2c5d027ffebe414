"""Damaged objects in DVC's cache: found when an output comes from there, thrown away, made again.

DVC trusts an object that is read-only, as it makes all of its own, and never reads it again: a bit
that flipped on the disk comes back as if it were what was made.
"""

import hashlib
import json
from pathlib import Path
from threading import Lock

from components.contracts.artefacts import MANIFEST, read_manifest, sha256
from components.contracts.errors import ArtefactError
from flows.graph import Stage
from flows.locked import locked_hashes
from flows.steps import STEPS

ONE_REPO = Lock()
"""DVC's repository object is not made for two threads of a process."""


def forget_damaged(root: Path, stage: Stage) -> str | None:
    """Throw damaged objects of a stage's output out of the cache; name one, `None` if all are well.

    Reads the output that was restored, and only if that is not what its manifest says, the cache.
    """
    folder = root / "data" / stage.recipe / STEPS[stage.name].output
    if is_intact(folder):
        return None
    locked = locked_hashes(root, stage.recipe).get(stage.name)
    damaged = throw_out(root, locked) if locked else []
    return damaged[0] if damaged else f"{folder.name}/{MANIFEST}"


def damaged_listing(root: Path, stage: Stage) -> Path | None:
    """Return the cached listing of a stage's output if it is damaged, in the project's own cache.

    DVC makes such an output again, but takes the listing that lies there for its own.
    """
    locked = locked_hashes(root, stage.recipe).get(stage.name, "")
    file = root / ".dvc" / "cache" / "files" / "md5" / locked[:2] / locked[2:]
    return file if locked and _damaged(locked, file) else None


def throw_out(root: Path, directory: str) -> list[str]:
    """Delete what is damaged of a cached directory (its hash ends in `.dir`); return the names."""
    from dvc.repo import Repo

    with ONE_REPO, Repo(str(root)) as repo:
        listing = Path(repo.cache.local.oid_to_path(directory))
        names = {directory: listing}
        if listing.is_file() and not _damaged(directory, listing):
            for entry in json.loads(listing.read_text(encoding="utf-8")):
                names[entry["md5"]] = Path(repo.cache.local.oid_to_path(entry["md5"]))
    damaged = {name: file for name, file in names.items() if _damaged(name, file)}
    for file in damaged.values():
        file.unlink()
    return sorted(damaged)


def is_intact(folder: Path) -> bool:
    """Say whether every file of an artefact has the bytes that its manifest names."""
    try:
        files = read_manifest(folder)["files"]
    except ArtefactError:
        return False
    return all(
        (folder / name).is_file() and sha256(folder / name) == entry["sha256"]
        for name, entry in files.items()
    )


def _damaged(name: str, file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    return found != name.removesuffix(".dir")
