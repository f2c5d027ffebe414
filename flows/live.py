"""The live training curve: listens to a step and passes its metrics on to the run, in bundles.

The training only writes each point to a file here. A thread beside it sends them, so neither a slow
tracker nor one that is away for an hour holds the training up; what could not be sent while the
stage ran goes when the flow enters the stage into the run (`send_rest`).
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from components.contracts.events import Events
from flows.journal import Journal, Point

EVERY_STEPS = 50
EVERY_SECONDS = 20.0
AGAIN_S = 5.0
"""Seconds between two tries while the tracker is away."""

LAST_S = 20.0
"""Seconds that the end of a stage waits for the tracker before it leaves the rest to the flow."""


HANGING_S = 20.0
"""Seconds more that a call which hangs holds the end of a stage."""


@dataclass
class LiveCurve:
    """Sends metrics in bundles; a tracker that fails never stops the training.

    MLflow is loaded at the first metric, so that only a stage with a curve pays for its import.
    Without `run` (the dvc door) the run of the recipe's record is continued or begun.
    """

    root: Path
    recipe: str
    run: str | None
    events: Events
    _waiting: list[Point] = field(default_factory=list)
    _journal: Journal | None = None
    _sender: "Sender | None" = None
    _thread: threading.Thread | None = None
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _told: int = 0
    _ending: bool = False
    _broken: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._thread:
            self._thread.join(LAST_S + HANGING_S)
        if self._journal:
            self._journal.close()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if self._broken:
            return
        point = Point(step, dict(values), int(time.time() * 1000))
        try:
            self._enter(point)
        except OSError as error:  # a full disk stops the training where it needs room itself
            self._broken = True
            self.events.note(f"the live curve is not recorded: {error}")
        if self._thread is None:
            self._thread = threading.Thread(target=self._send, name="live curve", daemon=True)
            self._thread.start()

    def _enter(self, point: Point) -> None:
        with self._wake:
            if self._journal is None and self.run:
                self._journal = Journal.of(self.root, self.recipe, self.run)
            if self._journal is None:
                self._waiting.append(point)
            elif not self._journal.add(point):
                return
            self._told += 1
            if self._told >= EVERY_STEPS:
                self._wake.notify()

    def progress(self, label: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def _send(self) -> None:
        """Send bundles until the step ends; tell when the tracker is away, or that it refuses."""
        from flows import tracking
        from flows.patience import passes

        away, deadline = False, 0.0
        while not self._broken:
            ending = self._sleep(AGAIN_S if away else EVERY_SECONDS, away)
            deadline = deadline or (time.monotonic() + LAST_S if ending else 0.0)
            try:
                self._send_all()
                away = False
            except tracking.FAULTS as error:
                if not passes(error):
                    self._broken = True
                    self.events.note(f"the live curve is not recorded: {error}")
                elif not away:
                    told = str(error).partition(": ")[0][:120]
                    self.events.note(f"MLflow does not answer; the curve is kept here: {told}")
                away = True
            if ending and not (away and time.monotonic() < deadline):
                return

    def _sleep(self, seconds: float, away: bool) -> bool:
        """Wait for a bundle, the time or the end; say whether it is the end."""
        with self._wake:
            if self._ending and away:
                self._wake.wait(1)
            elif not self._ending and (away or self._told < EVERY_STEPS):
                self._wake.wait(seconds)
            self._told = 0
            return self._ending

    def _send_all(self) -> None:
        from flows import tracking

        if self.run is None:
            self.run = tracking.run_of_dvc(self.root, self.recipe)
        with self._wake:
            if self._journal is None:
                self._journal = Journal.of(self.root, self.recipe, self.run)
                for point in self._waiting:
                    self._journal.add(point)
            self._waiting.clear()
        self._sender = self._sender or Sender(self._journal, self.run)
        self._sender.send()


@dataclass
class Sender:
    """Brings a journal to the tracker; what the run has already is left out."""

    journal: Journal
    run: str
    _there: dict[str, set[int]] = field(default_factory=dict)

    def send(self) -> None:
        """Send all that is not confirmed yet. May be broken off anywhere and called again."""
        from flows import tracking

        while True:
            bundle, end = self.journal.unsent(EVERY_STEPS)
            if not bundle:
                return
            if new := [point for point in map(self._new, bundle) if point.values]:
                tracking.log_curve(self.run, new)
            self.journal.confirm(end)

    def _new(self, point: Point) -> Point:
        from flows import tracking

        for name in point.values:
            if name not in self._there:
                self._there[name] = tracking.logged_steps(self.run, name)
        kept = {n: v for n, v in point.values.items() if point.step not in self._there[n]}
        return point._replace(values=kept)


def send_rest(root: Path, recipe: str, run: str) -> None:
    """Send what a stage could not, and forget the journal. May be called again and again."""
    journal = Journal.of(root, recipe, run)
    Sender(journal, run).send()
    journal.remove()
