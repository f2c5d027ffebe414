"""The model in use, and its exchange while requests run."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from components.contracts.errors import TunelineError
from components.runtime.shape import Shape
from components.runtime.text import TextModel
from components.serving.engine import ClosedError, Engine, Job
from components.serving.limits import Limits
from components.serving.metrics import Metrics

log = logging.getLogger("tuneline.serve")


@dataclass(frozen=True)
class Loaded:
    """A model ready to be asked."""

    model: TextModel
    shape: Shape
    name: str
    version: str


class Source(Protocol):
    """Where models come from. Both may raise `TunelineError` and take their time."""

    def current(self) -> str:
        """Return the version that should be served now."""

    def load(self, version: str) -> Loaded:
        """Open a version."""


class Holder:
    """Keeps one engine in use. Requests in flight end on the engine that took them."""

    def __init__(self, source: Source, limits: Limits, metrics: Metrics) -> None:
        self.source, self.limits, self.metrics = source, limits, metrics
        self.engine = self._open(source.current())
        self.old: list[Engine] = []

    def _open(self, version: str) -> Engine:
        loaded = self.source.load(version)
        return Engine(loaded.model, loaded.shape, loaded.name, loaded.version, self.limits)

    def submit(self, engine: Engine, job: Job) -> bool:
        """Give a job to the engine it was made for; False where that has just been exchanged."""
        try:
            engine.submit(job)
        except ClosedError:
            return False
        return True

    def refresh(self) -> bool:
        """Look whether another version should be served, and put it in place; say whether it was.

        A version that cannot be opened changes nothing: the one in use goes on.
        """
        try:
            version = self.source.current()
            if version == self.engine.version:
                return False
            fresh = self._open(version)
        except TunelineError as error:
            self.metrics.reloads.labels("failed").inc()
            log.warning("the model in use stays %s: %s", self.engine.title, error.problem)
            return False
        gone, self.engine = self.engine, fresh
        gone.close()
        self.old = [one for one in [*self.old, gone] if one.alive]
        self.metrics.reloads.labels("done").inc()
        log.info("%s is in use now; %s ends what it has begun", fresh.title, gone.title)
        return True

    async def watch(self, seconds: float) -> None:
        """Refresh every `seconds`, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.refresh)

    def close(self) -> None:
        """End all engines once their requests have ended."""
        for engine in (self.engine, *self.old):
            engine.close()
