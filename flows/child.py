"""A stage as a child process of its own session, so that it can be stopped with all it started."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.environment import child_environment
from flows.graph import Stage
from flows.record import Fault, Outcome, open_record

SKIPPED = "didn't change, skipping"
RESTORED = "is cached - skipping run"
LAST_LINES = 15

Tell = Callable[[str], None]

_running: set[subprocess.Popen[str]] = set()


@dataclass
class StageFailedError(Exception):
    """A stage did not end well. `retry` says whether the same call may succeed."""

    stage: str
    message: str
    retry: bool

    def __str__(self) -> str:
        return f"{self.stage}: {self.message}"


def run_stage(stage: Stage, root: Path, run: str, *, force: bool, tell: Tell) -> Outcome:
    """Bring one stage up to date through DVC; return what DVC did.

    Raises `StageFailedError` with the stage's own message where it left one.
    """
    with open_record(root, stage.recipe, "prefect") as record:
        record.faults.pop(stage.name, None)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item"]
    command += ["--force", stage.address] if force else [stage.address]
    ended = run_lines(command, root, child_environment(run), stage.options.timeout_s, tell)
    if ended.code != 0:
        raise _failure(stage, root, ended)
    text = "\n".join(ended.lines)
    return "cached" if SKIPPED in text else "restored" if RESTORED in text else "ran"


@dataclass(frozen=True)
class Ended:
    """How a child process ended, and the last it said."""

    code: int
    lines: Sequence[str]
    timed_out: bool


def run_lines(
    command: Sequence[str], root: Path, env: dict[str, str], timeout_s: float | None, tell: Tell
) -> Ended:
    """Run a command in its own session, telling each line; kill all of it when time is up."""
    child = subprocess.Popen(
        command,
        cwd=root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _running.add(child)
    late = threading.Event()
    timer = threading.Timer(timeout_s or threading.TIMEOUT_MAX, _time_out, (child, late))
    timer.daemon = True
    timer.start()
    try:
        lines = _read(child, tell)
        return Ended(child.wait(), lines, late.is_set())
    finally:
        timer.cancel()
        stop(child)
        _running.discard(child)


def stop_all() -> None:
    """Kill every stage that is running, with all that it started."""
    for child in list(_running):
        stop(child)


def stop(child: "subprocess.Popen[str]") -> None:
    """Kill a child's whole session: DVC alone would leave the training running."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _read(child: "subprocess.Popen[str]", tell: Tell) -> list[str]:
    lines: list[str] = []
    for line in child.stdout or ():
        if line.strip():
            lines.append(line.rstrip())
            tell(lines[-1])
    return lines


def _time_out(child: "subprocess.Popen[str]", late: threading.Event) -> None:
    late.set()
    stop(child)


def _failure(stage: Stage, root: Path, ended: Ended) -> StageFailedError:
    """Return what went wrong, in the record too: a killed child could not write it there."""
    with open_record(root, stage.recipe, "prefect") as record:
        fault = record.faults.setdefault(stage.name, _fault(stage, ended))
    return StageFailedError(stage.name, fault.message, fault.retry)


def _fault(stage: Stage, ended: Ended) -> Fault:
    if ended.timed_out:
        told = f"stopped after {stage.options.timeout_s:g} s, its timeout_s in dvc.yaml"
        return Fault(kind="Timeout", message=told, retry=False)
    told = "\n".join(ended.lines[-LAST_LINES:])
    message = f"ended with exit code {ended.code}\n{told}"
    return Fault(kind="Crash", message=message, retry=True)
