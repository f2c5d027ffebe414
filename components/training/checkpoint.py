"""Checkpoints outside the artefact: written whole or not at all, and only taken up if undamaged.

A file's name holds its step and the SHA-256 of its bytes, so one rename makes it whole, and a file
that was cut short or changed on the disk is found before anything is read from it.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from components.contracts.artefacts import NO_SPACE, sha256
from components.contracts.errors import SpaceError

NAME = re.compile(r"checkpoint-(?P<step>\d{8,})-(?P<digest>[0-9a-f]{64})\.pt")
UNFINISHED = "unfinished.tmp"


@dataclass
class Hashed:
    """A file for `torch.save` that hashes what goes through and remembers why a write failed.

    torch turns an `OSError` of the stream into a `RuntimeError` without its number.
    """

    stream: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    error: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int = 2) -> Path:
    """Write `state` as the checkpoint of `step` in `folder` and return its file.

    It is written beside its place, flushed to the disk, then renamed: a crash at any moment leaves
    those before it whole. Only the last `keep` stay, and only of this run (see `load_checkpoint`).

    Raises:
        SpaceError: the disk is full; the last checkpoint is still whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / UNFINISHED
    try:
        file = folder / f"checkpoint-{step:08d}-{_write(unfinished, state)}.pt"
        unfinished.replace(file)
        _sync(folder)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if error.errno in NO_SPACE:
            raise SpaceError(
                f"no room left on the disk for the checkpoint of step {step} in {folder}",
                fix="free some space and run again: training goes on from the last checkpoint",
            ) from error
        raise
    for old in list(checkpoints(folder))[keep:]:
        old.unlink()
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir():
            shutil.rmtree(other)
    return file


def load_checkpoint(
    folder: Path, fingerprint: str, tell: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return the newest undamaged state in `folder`, or `None` if there is none.

    The fingerprint covers base, tokens, settings and plan: a checkpoint of another run is never
    resumed. A damaged file is told of and removed, and the one before it is tried.
    """
    for file in list(checkpoints(folder)):
        state = _read(file)
        if state is not None and state["fingerprint"] == fingerprint:
            return state
        tell(f"{file.name[:19]}… is damaged or of another run: left out")
        file.unlink()
    return None


def checkpoints(folder: Path) -> Iterator[Path]:
    """Yield the checkpoint files in `folder`, the newest first."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    files = [file for file in found if NAME.fullmatch(file.name)]
    yield from sorted(files, key=lambda file: file.name, reverse=True)


def _write(file: Path, state: dict[str, Any]) -> str:
    """Write `state` down to the disk; return the SHA-256 of the bytes. Raises `OSError`."""
    import torch

    with file.open("wb") as stream:
        hashed = Hashed(stream)
        target: Any = hashed  # torch.save asks for write and flush only
        try:
            torch.save(state, target)
        except RuntimeError as error:
            raise hashed.error or error from error
        stream.flush()
        os.fsync(stream.fileno())
    return str(hashed.digest.hexdigest())


def _read(file: Path) -> dict[str, Any] | None:
    """Return the state in `file`, or `None` if its bytes are not those that were written.

    torch does not check the checksums of its own format.
    """
    import torch

    named = NAME.fullmatch(file.name)
    if named is None or sha256(file) != named["digest"]:
        return None
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def _sync(folder: Path) -> None:
    """Flush a folder's names to the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
