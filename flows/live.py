"""The live training curve: listens to a step and passes its metrics on to the run, in bundles."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from components.contracts.events import Events

EVERY_STEPS = 50
EVERY_SECONDS = 20.0


@dataclass
class LiveCurve:
    """Buffers metrics and logs them in bundles; a tracker that fails never stops the training.

    MLflow is loaded at the first metric, so that only a stage with a curve pays for its import.
    Without `run` (the dvc door) the run of the recipe's record is continued or begun.
    """

    root: Path
    recipe: str
    run: str | None
    events: Events
    _points: list[tuple[int, dict[str, float], int]] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)
    _seen: int | None = None
    _broken: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._points.append((step, dict(values), int(time.time() * 1000)))
        late = time.monotonic() - self._flushed > EVERY_SECONDS
        if len(self._points) >= EVERY_STEPS or late:
            self.flush()

    def progress(self, label: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def flush(self) -> None:
        """Log what is buffered; steps that an earlier attempt logged are left out."""
        points, self._points = self._points, []
        self._flushed = time.monotonic()
        if not points or self._broken:
            return
        from flows import tracking

        try:
            self.run = self.run or tracking.run_of_dvc(self.root, self.recipe)
            if self._seen is None:
                self._seen = tracking.last_step(self.run)
            tracking.log_curve(self.run, [point for point in points if point[0] > self._seen])
        except tracking.FAULTS as error:
            self._broken = True
            self.events.note(f"the live curve is not recorded: {error}")
