"""What a crash can leave broken of DVC's own files, mended before DVC meets it.

DVC rewrites `dvc.lock` and `.dvc/tmp/rwlock` in place: who is killed in that moment leaves half a
file, on which every later call fails. And `rwlock` holds numbers of processes, which after a
restart of the machine may belong to others: DVC would wait for those.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from flows.environment import state_folder

LOCK = "dvc.lock"


def heal(root: Path) -> list[str]:
    """Mend what a crash left; return what was done, for people. Quick where nothing is wrong."""
    with _alone(root):
        return [told for told in (_heal_lock(root), _heal_rwlock(root)) if told]


def keep_lock(root: Path) -> None:
    """Keep a copy of dvc.lock as a stage left it, to go back to."""
    kept = _kept(root)
    with _alone(root), suppress(FileNotFoundError):
        if _whole(root / LOCK):
            temporary = kept.with_suffix(".tmp")
            shutil.copyfile(root / LOCK, temporary)
            temporary.replace(kept)


def _heal_lock(root: Path) -> str | None:
    """Put the last whole dvc.lock in the place of half a one.

    What it does not know of yet, DVC's cache of runs does: nothing is made a second time.
    """
    lock, kept = root / LOCK, _kept(root)
    if not lock.exists() or _whole(lock) or _dvc_works(root):
        return None
    if kept.exists():
        shutil.copyfile(kept, lock)
        return "dvc.lock was cut short by a crash: the one of the last finished stage is back"
    lock.unlink()
    return "dvc.lock was cut short by a crash and is begun anew: outputs come from DVC's cache"


def _heal_rwlock(root: Path) -> str | None:
    file = root / ".dvc" / "tmp" / "rwlock"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError:
        if _dvc_works(root):
            return None
        file.unlink(missing_ok=True)
        return "DVC's list of who works on what was cut short by a crash: begun anew"
    live, gone = _without_strangers(found)
    if not gone:
        return None
    temporary = file.with_suffix(".mended")
    temporary.write_text(json.dumps(live), encoding="utf-8")
    temporary.replace(file)
    return f"DVC waited for process {gone[0]}, which is not the one that it was: taken off"


def _without_strangers(found: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Return the entries without those of strangers, and the numbers of these."""
    write, read = found.get("write", {}), found.get("read", {})
    entries = [*write.values(), *(one for readers in read.values() for one in readers)]
    gone = [int(one["pid"]) for one in entries if _is_stranger(one)]
    kept = {
        path: [one for one in readers if not _is_stranger(one)] for path, readers in read.items()
    }
    return {
        "write": {path: one for path, one in write.items() if not _is_stranger(one)},
        "read": {path: readers for path, readers in kept.items() if readers},
    }, gone


def _is_stranger(entry: dict[str, Any]) -> bool:
    """Say whether the process lives and was called otherwise. Dead ones DVC takes off itself."""
    import psutil

    try:
        words = psutil.Process(int(entry["pid"])).cmdline()
    except psutil.Error:
        return False
    _, _, told = str(entry["cmd"]).partition(" ")  # the program's own path reads otherwise
    return not " ".join(words).endswith(told)


def _dvc_works(root: Path) -> bool:
    """Say whether some DVC holds its lock: then half a file is one that is being written."""
    try:
        with (root / ".dvc" / "tmp" / "lock").open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _whole(lock: Path) -> bool:
    """Say whether a lock file has its end: a cut one may still be read, with less in it."""
    try:
        text = lock.read_text(encoding="utf-8")
        found = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    stages = found.get("stages", {}) if isinstance(found, dict) else None
    if not isinstance(stages, dict) or not text.endswith("\n"):
        return False
    last: Any = list(stages.values())[-1:]
    outs = last[0].get("outs") or [] if last and isinstance(last[0], dict) else []
    return all(isinstance(out, dict) and not out.keys() <= {"path", "hash"} for out in outs)


def _kept(root: Path) -> Path:
    return state_folder(root) / "dvc.lock.kept"


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep other threads and processes of the line out for a moment."""
    folder = state_folder(root)
    folder.mkdir(exist_ok=True)
    with (folder / "dvc.mending").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
