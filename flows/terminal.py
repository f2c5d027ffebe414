"""What a flow shows at the terminal: one line a stage, and a bar for the one that is working."""

import logging
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import TaskID
from rich.text import Text

from flows.progress import LINE, MARK, bars, minutes

LOGGERS = ("prefect.task_runs",)
MADE = ("ran", "restored", "cached")


class Terminal(logging.Handler):
    """Listens to the tasks of a flow; use it as a context manager around the flow's call."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._bars = bars(console)
        self._rows: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        stage = getattr(record, "task_run_name", None)
        if isinstance(stage, str) and record.name == "prefect.task_runs":
            self._tell(stage, record.getMessage())

    def _tell(self, stage: str, line: str) -> None:
        self._started.setdefault(stage, time.monotonic())
        progress = LINE.match(line)
        if line.startswith("Finished in state"):
            self._finished(stage, line)
        elif progress and self._console.is_terminal:
            self._draw(stage, progress["done"], progress["total"], progress["label"])
        elif line.startswith(MARK):
            self._print(f"  {stage:<10}{line.removeprefix(MARK)}", "dim")

    def _draw(self, stage: str, done: str, total: str, label: str) -> None:
        name = label if label.startswith(stage) else f"{stage}: {label}"
        if stage not in self._rows:
            self._rows[stage] = self._bars.add_task(name, rest="")
        self._bars.update(
            self._rows[stage], description=name, completed=int(done), total=int(total)
        )

    def _finished(self, stage: str, line: str) -> None:
        if stage in self._rows:
            self._bars.remove_task(self._rows.pop(stage))
        outcome = next((word for word in MADE if f"DVC: {word}" in line), "failed")
        seconds = minutes(time.monotonic() - self._started[stage])
        style = {"ran": "green", "failed": "bold red"}.get(outcome, "dim")
        self._print(f"  {stage:<10}{outcome:<10}{seconds:>8}", style)

    def _print(self, text: str, style: str) -> None:
        self._bars.console.print(Text(text, style), soft_wrap=True)
