"""A stage as a child process of its own session, so that it can be stopped with all it started."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from flows.dvc_state import heal, keep_lock
from flows.environment import child_environment, state_folder
from flows.finished import forget
from flows.graph import Stage
from flows.intact import damaged_listing, forget_damaged
from flows.record import Fault, Outcome, open_record

SKIPPED = "didn't change, skipping"
RESTORED = "is cached - skipping run"
LAST_LINES = 15
GRACE_S = 20.0
"""Seconds between asking a session to end and killing it: within a spot machine's notice of 30."""

SLACK_S = 10.0
WATCHED = Path(__file__).with_name("watched.py")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """A running session. `alive` is the writing end of the pipe that says we still want it."""

    child: "subprocess.Popen[str]"
    alive: FileIO
    grace_s: float


_running: set[Session] = set()
_closing = threading.Event()


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
        record.begun.add(stage.name)
    if force:
        forget(root, stage.recipe, stage.name)
    outcome = _repro(stage, root, run, force, tell)
    if outcome == "ran" and (listing := damaged_listing(root, stage)):
        listing.unlink()
        tell(f"{listing.name} in the cache was damaged: entered anew")
        commit = [sys.executable, "-m", "dvc", "--wait-for-lock", "commit", "--force"]
        run_lines([*commit, stage.address], root, child_environment(run), None, tell)
    if outcome == "restored" and (damaged := forget_damaged(root, stage)):
        tell(f"{damaged} in the cache is damaged: thrown away, {stage.name} runs again")
        outcome = _repro(stage, root, run, True, tell)
    keep_lock(root)
    forget(root, stage.recipe, stage.name)
    return outcome


def _repro(stage: Stage, root: Path, run: str, force: bool, tell: Tell) -> Outcome:
    if _closing.is_set():
        raise StageFailedError(stage.name, "stopped with the flow", retry=False)
    for healed in heal(root):
        tell(healed)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item"]
    command += ["--force", stage.address] if force else [stage.address]
    lock = state_folder(root) / "running" / f"{stage.address}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    env = {**child_environment(run), LOCK: str(lock), GRACE: str(stage.options.grace_s)}
    ended = run_lines(command, root, env, stage.options.timeout_s, tell)
    if ended.code != 0:
        raise _failure(stage, root, ended)
    text = "\n".join(ended.lines)
    return "cached" if SKIPPED in text else "restored" if RESTORED in text else "ran"


LOCK, GRACE = "TUNELINE_STAGE_LOCK", "TUNELINE_GRACE_S"
"""How `run_stage` tells `run_lines` what the session holds and how long it may take to end."""


@dataclass(frozen=True)
class Ended:
    """How a child process ended, and the last it said. `stopped`: because this process wanted."""

    code: int
    lines: Sequence[str]
    timed_out: bool
    stopped: bool = False


def run_lines(
    command: Sequence[str], root: Path, env: dict[str, str], timeout_s: float | None, tell: Tell
) -> Ended:
    """Run a command in its own session, telling each line; end all of it when time is up.

    The session ends too when this process is gone, however it went (see `flows.watched`).
    """
    session = _start(command, root, env)
    _running.add(session)
    late = threading.Event()
    timer = threading.Timer(timeout_s or threading.TIMEOUT_MAX, _time_out, (session, late))
    timer.daemon = True
    timer.start()
    try:
        lines = _read(session.child, tell)
        code = session.child.wait()
        return Ended(code, lines, late.is_set(), _closing.is_set())
    finally:
        timer.cancel()
        _running.discard(session)
        stop([session])


def _start(command: Sequence[str], root: Path, env: dict[str, str]) -> Session:
    wanted, alive = os.pipe()
    grace = float(env.get(GRACE, GRACE_S))
    words = [sys.executable, "-P", str(WATCHED), str(wanted), str(grace), env.get(LOCK, "-")]
    try:
        child = subprocess.Popen(
            [*words, *command],
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=[wanted],
        )
    except BaseException:
        os.close(alive)
        raise
    finally:
        os.close(wanted)
    return Session(child, FileIO(alive, "w"), grace)


def stop_all() -> None:
    """End every stage that is running, with all that it started; no other one starts after."""
    _closing.set()
    stop(list(_running))


def allow_all() -> None:
    """Let stages start again: a flow begins."""
    _closing.clear()


def stop(sessions: Sequence[Session]) -> None:
    """End sessions: each process is asked, and killed when the time of grace is over."""
    for session in sessions:
        session.alive.close()
    for session in sessions:
        try:
            code = session.child.wait(session.grace_s + SLACK_S)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        if code < 0:  # the watcher itself was killed, or cannot end: its group is still there
            with suppress(ProcessLookupError):
                os.killpg(session.child.pid, signal.SIGKILL)
            session.child.wait()


def _read(child: "subprocess.Popen[str]", tell: Tell) -> list[str]:
    lines: list[str] = []
    for line in child.stdout or ():
        if line.strip():
            lines.append(line.rstrip())
            tell(lines[-1])
    return lines


def _time_out(session: Session, late: threading.Event) -> None:
    late.set()
    stop([session])


def _failure(stage: Stage, root: Path, ended: Ended) -> StageFailedError:
    """Return what went wrong, in the record too: a killed child could not write it there."""
    with open_record(root, stage.recipe, "prefect") as record:
        fault = record.faults.setdefault(stage.name, _fault(stage, ended))
    return StageFailedError(stage.name, fault.message, fault.retry and not ended.stopped)


def _fault(stage: Stage, ended: Ended) -> Fault:
    if ended.timed_out:
        told = f"stopped after {stage.options.timeout_s:g} s, its timeout_s in dvc.yaml"
        return Fault(kind="Timeout", message=told, retry=False)
    if ended.stopped:
        return Fault(kind="Stopped", message="stopped with the flow", retry=True)
    told = "\n".join(ended.lines[-LAST_LINES:])
    message = f"ended with exit code {ended.code}\n{told}"
    return Fault(kind="Crash", message=message, retry=True)
