"""DVC's local cache: which objects somebody needs, and which can go."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import TunelineError

LOCK = "dvc.lock"
OBJECTS = "files/md5"


class CollectError(TunelineError):
    """What is to be cleaned up cannot be told from what others need."""


@dataclass(frozen=True)
class CacheWaste:
    """An object of the cache, or an entry of the run cache, that nobody needs."""

    name: str
    path: Path
    bytes: int


@contextmanager
def hold(root: Path) -> Iterator[Path]:
    """Keep DVC's hands off within the block; gives the folder of the cache.

    Raises `CollectError` if the cache lies outside the project: other projects may need it.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        cache = Path(str(repo.cache.local_cache_dir)).resolve()
        if not cache.is_relative_to(root.resolve()):
            raise CollectError(
                f"DVC's cache is {cache}, outside this project: others may need what lies there",
                fix="`dvc gc --projects` looks at several projects at once",
            )
        with repo.lock:
            yield cache


def hashes_here(root: Path, recipes: Iterable[str]) -> set[str]:
    """Return the hashes that the working copy names: of recipes on the line, and all .dvc files."""
    names = set(recipes)
    lock = root / LOCK
    found = hashes_of_lock(_yaml(lock.read_bytes()), names) if lock.is_file() else set()
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if name.endswith(".dvc"):
                found |= hashes_of(_yaml((Path(folder) / name).read_bytes()).get("outs"))
    return found


def hashes_at(root: Path, commit: str) -> set[str]:
    """Return the hashes that dvc.lock of a commit names; none where it has no lock."""
    return hashes_of_lock(_yaml(_git(root, "show", f"{commit}:./{LOCK}") or b""))


def hashes_of_inputs(root: Path) -> set[str]:
    """Return what the .dvc files of every commit on any branch name: rows cannot be made again."""
    words = ("log", "--all", "--no-renames", "--diff-filter=AM", "--raw", "--no-abbrev")
    told = _git(root, *words, "--format=", "--", "*.dvc") or b""
    blobs = {line.split()[3] for line in told.splitlines() if line.startswith(b":")}
    found: set[str] = set()
    for blob in blobs:
        data = _yaml(_git(root, "cat-file", "blob", blob.decode()) or b"")
        found |= hashes_of(data.get("outs"))
    return found


def hashes_of_lock(lock: Mapping[str, Any], recipes: set[str] | None = None) -> set[str]:
    """Return all hashes in a dvc.lock, of some recipes only if they are named."""
    found: set[str] = set()
    for address, stage in (lock.get("stages") or {}).items():
        if recipes is None or address.partition("@")[2] in recipes:
            found |= hashes_of(stage.get("outs")) | hashes_of(stage.get("deps"))
    return found


def hashes_of(entries: Any) -> set[str]:
    return {str(one["md5"]) for one in entries or () if "md5" in one}


def cache_waste(cache: Path, needed: set[str]) -> list[CacheWaste]:
    """Return the objects and run cache entries that no needed hash leads to, largest first."""
    objects = cache / OBJECTS
    wanted = needed | {inner for one in needed for inner in inside(objects, one)}
    found = [
        CacheWaste(f"{file.parent.name}{file.name}"[:12], file, _size(file))
        for file in _objects(objects)
        if f"{file.parent.name}{file.name}".removesuffix(".unpacked") not in wanted
    ]
    gone = {f"{one.path.parent.name}{one.path.name}" for one in found}
    runs = [
        CacheWaste(f"run cache {file.name[:12]}", file, _size(file))
        for file in (cache / "runs").glob("*/*/*")
        if file.is_file() and hashes_of(_yaml(file.read_bytes()).get("outs")) & gone
    ]
    return sorted(found, key=lambda one: -one.bytes) + runs


def inside(objects: Path, name: str) -> set[str]:
    """Return the hashes that a folder's object lists; none for a file or what is not here."""
    file = objects / name[:2] / name[2:]
    if not name.endswith(".dir") or not file.is_file():
        return set()
    return {str(one["md5"]) for one in json.loads(file.read_text(encoding="utf-8"))}


def drop_objects(cache: Path, waste: list[CacheWaste]) -> None:
    """Delete objects, folders' own lists last: what is cut short then can be begun again."""
    for one in sorted(waste, key=lambda one: one.path.suffix == ".dir"):
        one.path.unlink(missing_ok=True)
    for folder in (cache / OBJECTS).glob("*"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _objects(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("??/*")):
        if file.is_file():
            yield file


def _size(file: Path) -> int:
    return file.stat().st_size


def _yaml(text: bytes) -> dict[str, Any]:
    found = yaml.load(text, Loader=yaml.CSafeLoader)
    return found if isinstance(found, dict) else {}


def _git(root: Path, *words: str) -> bytes | None:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
