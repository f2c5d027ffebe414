"""What a batch prediction has finished: chunks of rows, each whole or not there."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError

RUN = "run.json"


@dataclass(frozen=True)
class Parts:
    """The folder beside the output that a crash leaves: `run.json`, and one file a chunk.

    A chunk's file begins with the SHA-256 of the lines after it and comes to its name only when it
    is on the disk, so a killed run leaves whole chunks and nothing that looks like one.
    """

    folder: Path

    def begin(self, run: Mapping[str, Any], *, restart: bool) -> int:
        """Take up the run that is described by `run`; return how many chunks it has already.

        Raises `DataError` where the folder holds chunks of another run.
        """
        file = self.folder / RUN
        if restart:
            for old in (file, *self.folder.glob("*.jsonl")):
                old.unlink(missing_ok=True)
        if file.is_file():
            known = json.loads(file.read_text(encoding="utf-8"))
            other = sorted(key for key in {*known, *run} if known.get(key) != run.get(key))
            if other:
                told = ", ".join(
                    f"{key} was {known.get(key)!r}, is {run.get(key)!r}" for key in other[:3]
                )
                raise DataError(
                    f"{self.folder} holds the chunks of another run: {told}",
                    fix="run as before to go on with it, or with --restart to begin anew",
                )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(dict(run), indent=2).encode())
        return sum(1 for _ in self.folder.glob("*.jsonl"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for this process; raise `DataError` where another one works on it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"another process is working on {self.folder}", fix="wait until it has ended"
                ) from error
            yield
        finally:
            os.close(lock)

    def read(self, number: int) -> list[dict[str, Any]] | None:
        """Return the rows of a chunk, or None where it is missing or damaged."""
        file = self._file(number)
        if not file.is_file():
            return None
        digest, _, body = file.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        return [json.loads(line) for line in body.splitlines()]

    def write(self, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of a finished chunk."""
        lines = [json.dumps(dict(row), ensure_ascii=False) for row in rows]
        body = "".join(f"{line}\n" for line in lines).encode()
        digest = hashlib.sha256(body).hexdigest().encode()
        write_whole(self._file(number), digest + b"\n" + body)

    def remove(self) -> None:
        """Delete the folder: what it held stands in the output now."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl"


def write_whole(file: Path, content: bytes) -> None:
    """Write a file that is either there with all its bytes, on the disk, or not there."""
    half = file.with_name(f".{file.name}.tmp")
    with half.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    half.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
