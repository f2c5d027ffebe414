"""The points of a training curve on this disk, until the tracker has them: a line each.

A training that is killed goes on after its last checkpoint and never tells the steps before it
again. So each point is written here the moment it is told, and stays until it has been sent; and a
step that is trained twice, because it came after that checkpoint, is entered once.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from flows.environment import state_folder


class Point(NamedTuple):
    """The values of one step; `at` is the time of day in milliseconds."""

    step: int
    values: Mapping[str, float]
    at: int


@dataclass
class Journal:
    """The points of one run. Only one process writes; each line is handed to the system whole."""

    file: Path
    _known: set[tuple[str, int]] = field(default_factory=set)
    _stream: IO[str] | None = None

    @classmethod
    def of(cls, root: Path, recipe: str, run: str) -> "Journal":
        """Return the journal of an MLflow run, with what earlier attempts have left in it."""
        journal = cls(state_folder(root) / "curves" / f"{recipe}-{run}.jsonl")
        for point in journal.points():
            journal._known |= {(name, point.step) for name in point.values}
        return journal

    def add(self, point: Point) -> bool:
        """Enter what is new of a point; say whether anything was.

        Raises `OSError` if the disk is full.
        """
        new = {n: v for n, v in point.values.items() if (n, point.step) not in self._known}
        if not new:
            return False
        if self._stream is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._mend()
            self._stream = self.file.open("a", encoding="utf-8", buffering=1)
        self._stream.write(json.dumps([point.step, new, point.at]) + "\n")
        self._known |= {(name, point.step) for name in new}
        return True

    def points(self) -> Iterator[Point]:
        """Yield all points."""
        yield from self._after(0)[0]

    def unsent(self, most: int) -> tuple[list[Point], int]:
        """Return up to `most` points that the tracker has not confirmed, and where they end."""
        return self._after(self._confirmed(), most)

    def confirm(self, end: int) -> None:
        """Take note that the tracker has all points up to the place `end` in the file."""
        mark, temporary = self._mark(), self._mark().with_suffix(".tmp")
        temporary.write_text(str(end), encoding="ascii")
        temporary.replace(mark)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def remove(self) -> None:
        """Forget all: the tracker has it, and the step is entered."""
        self.close()
        self.file.unlink(missing_ok=True)
        self._mark().unlink(missing_ok=True)

    def _after(self, place: int, most: int | None = None) -> tuple[list[Point], int]:
        """Return the points from `place` on; a last line that is not whole does not count."""
        points: list[Point] = []
        if not self.file.is_file():
            return points, place
        with self.file.open("rb") as stream:
            stream.seek(place)
            for line in stream:
                if not line.endswith(b"\n") or len(points) == most:
                    break
                points.append(Point(*json.loads(line)))
                place += len(line)
        return points, place

    def _confirmed(self) -> int:
        return int(self._mark().read_text(encoding="ascii")) if self._mark().is_file() else 0

    def _mark(self) -> Path:
        return self.file.with_suffix(".sent")

    def _mend(self) -> None:
        """Cut off what a crash in the middle of a line has left."""
        if not self.file.is_file():
            return
        with self.file.open("rb+") as stream:
            held = stream.read()
            stream.truncate(held.rfind(b"\n") + 1)
