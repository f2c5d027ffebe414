"""What a person sees of a long step: a bar at a terminal, else a plain line every few seconds."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

SHOWN = ("loss", "eval_loss")
"""The live metrics that stand beside the bar."""

MARK = "  · "
"""What a line for people starts with, so that it is told from the noise of libraries."""

LINE = re.compile(r"^  · (?P<label>.+?): (?P<done>\d+)/(?P<total>\d+) \(\d+ %\)(?P<rest>.*)$")
"""How `Lines` writes progress, so that a door above can draw a bar again."""


@dataclass
class Lines:
    """Writes at most one line of progress every `every` seconds, and every note."""

    out: TextIO
    every: float = 5.0
    _shown: float = 0.0
    _started: dict[str, float] = field(default_factory=dict)
    _beside: str = ""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._beside = beside(values) or self._beside

    def progress(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        started = self._started.setdefault(label, now)
        if now - self._shown < self.every and done < total:
            return
        if done >= total:
            self._started.pop(label, None)
            if now - started < self.every:
                return
        self._shown = now
        left = (now - started) / done * (total - done) if done else 0.0
        share = round(100 * done / max(total, 1))
        rest = f", {minutes(left)} left" if done < total else ""
        self._write(f"{label}: {done}/{total} ({share} %){rest}{self._beside}")

    def note(self, text: str) -> None:
        self._write(text)

    def _write(self, text: str) -> None:
        print(f"{MARK}{text}", file=self.out, flush=True)


class Bars:
    """Draws one bar for each label at a terminal; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._bars = bars(console)
        self._tasks: dict[str, TaskID] = {}
        self._beside = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._beside = beside(values) or self._beside

    def progress(self, label: str, done: int, total: int) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, rest="")
        self._bars.update(self._tasks[label], completed=done, total=total, rest=self._beside)

    def note(self, text: str) -> None:
        self._bars.console.print(f"{MARK}{text}", highlight=False, markup=False)


def listener(out: TextIO) -> "Bars | Lines":
    """Return what suits the place that `out` leads to."""
    return Bars(Console(file=out)) if out.isatty() else Lines(out)


def bars(console: Console) -> Progress:
    """Return the progress display that all doors share."""
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Remaining(),
        TextColumn("{task.fields[rest]}"),
        console=console,
        transient=True,
    )


def beside(values: Mapping[str, float]) -> str:
    """Return the metrics worth a look during training, as text to append."""
    return "".join(f", {name} {values[name]:.3f}" for name in SHOWN if name in values)


def minutes(seconds: float) -> str:
    """Return a duration as `4 s`, `1:53` or `2:05:00`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    total = round(seconds)
    hours, rest = divmod(total, 3600)
    tail = f"{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
    return f"{hours}:{tail}" if hours else tail
