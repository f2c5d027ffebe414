"""When a checkpoint is written: every so many steps or minutes, and before the machine goes."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.errors import TunelineError
from components.training.checkpoint import save_checkpoint
from components.training.loop import Trainer
from components.training.resume import state_of


class StoppedError(TunelineError):
    """Training was asked to end (SIGTERM) and left a checkpoint to go on from."""

    exit_code = 128 + signal.SIGTERM


@dataclass
class Keeper:
    """Called after each step but the last, writes a checkpoint to `folder` when it is time.

    `mark` is the run's fingerprint. `asked` is set when the machine is about to go: the next call
    writes a checkpoint, then raises `StoppedError`.
    """

    folder: Path
    mark: str
    asked: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.saved = self.clock()

    def __call__(self, trainer: Trainer) -> None:
        asked, due = trainer.group.any(self.asked.is_set(), self.due(trainer))
        if asked or due:
            self.save(trainer)
        if asked:
            raise StoppedError(
                f"asked to end (SIGTERM): stopped after step {trainer.progress.step} "
                f"of {len(trainer.plan)}",
                fix="run the same command again: it goes on from there",
            )

    def due(self, trainer: Trainer) -> bool:
        """Say whether the steps or the minutes between two checkpoints are over."""
        settings = trainer.settings
        minutes = (self.clock() - self.saved) / 60
        late = settings.save_minutes is not None and minutes >= settings.save_minutes
        return late or trainer.progress.step % settings.save_steps == 0

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint now."""
        state = state_of(trainer, self.mark)
        step, keep = trainer.progress.step, trainer.settings.save_total_limit
        if trainer.group.first:
            save_checkpoint(self.folder, step, state, keep)
        self.saved = self.clock()


@contextmanager
def heeding_sigterm(asked: threading.Event) -> Iterator[None]:
    """Set `asked` on SIGTERM inside the block (spot machines and schedulers send it first).

    Only the main thread may listen to signals: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: Any) -> None:
        asked.set()

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
