"""A project on which a drill is run: how to disturb it, and what must be true of it afterwards."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.environment import prepare

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
STAGES = ("ingest", "fetch", "train", "gate", "register")
STEPS_OF_TRAINING = 60
OURS = ("MLFLOW_", "PREFECT_", "TUNELINE_")
PATIENCE_S = float(os.environ.get("TUNELINE_DRILLS_PATIENCE", "300"))
"""How long a drill waits for what must come: a busy machine is no fault of the line."""


@dataclass
class Drilled:
    """A working copy of the drill's line. `extra` is added to the environment of its commands."""

    root: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        env |= self.extra
        prepare(self.root, env)
        env["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), env.get("PYTHONPATH", "")])
        return env

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )

    def ask(self, code: str) -> Any:
        """Run Python code in the project's environment; return the JSON that it prints last."""
        done = self.run(sys.executable, "-c", code)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    # what is disturbed

    def halt(self, stage: str, word: str) -> None:
        """Have a stage wait at a place, the next time that it comes there."""
        self.knob(stage).write_text(word, encoding="utf-8")

    def knob(self, name: str) -> Path:
        (self.root / "drill").mkdir(exist_ok=True)
        return self.root / "drill" / name

    def wait_here(self, stage: str, beside: "subprocess.Popen[Any] | None" = None) -> int:
        """Wait until a stage is at its place; return its process."""
        mark = self.knob(f"{stage}.here")
        wait_for(mark.exists, f"{stage} does not come to its place", beside)
        wait_for(lambda: mark.read_text().isdigit(), "half a number")
        number = int(mark.read_text())
        mark.unlink()
        return number

    def go_on(self, stage: str) -> None:
        self.knob(stage).unlink(missing_ok=True)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start `tuneline run` in a session of its own."""
        log = (self.root / ".tuneline" / "started.log").open("a")
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", "toy", *words],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> str:
        """Run the line to its end; return what it said."""
        done = self.run(sys.executable, "-m", "flows.cli", "run", "toy")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def processes(self) -> list[Any]:
        """Return every process that works in this project."""
        import psutil

        found = []
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                words = " ".join(process.info["cmdline"] or ())
                at = process.cwd() if process.pid != os.getpid() else ""
                if at == str(self.root) and "server" not in words and "worker" not in words:
                    found.append(process)
        return found

    def wait_until_gone(self) -> None:
        wait_for(lambda: not self.processes(), "processes have outlived the one that wanted them")

    # what must be true

    def logged(self, name: str) -> list[str]:
        file = self.root / "log" / name
        return file.read_text(encoding="utf-8").split() if file.is_file() else []

    def state(self) -> dict[str, Any]:
        """Return all that an undisturbed run and a disturbed one must have in common."""
        done = self.run(sys.executable, str(HERE / "line_state.py"), str(self.root))
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def manifests(self) -> dict[str, str]:
        files = sorted((self.root / "data" / "toy").glob("*/manifest.json"))
        return {f.parent.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def need_same(drilled: Drilled, untouched: Mapping[str, Any]) -> dict[str, Any]:
    """Fail unless nothing is lost, nothing doubled and the end is that of an untouched run."""
    found = drilled.state()
    for name, wanted in untouched.items():
        assert found[name] == wanted, f"{name}: {found[name]}\ninstead of {wanted}"
    drilled.wait_until_gone()
    return found


def need_once(drilled: Drilled, *again: str) -> None:
    """Fail if a stage that had been made was made again, `again` left aside."""
    made = Counter(drilled.logged("made"))
    assert set(made) == set(STAGES), made
    assert [name for name in made if made[name] > 1 and name not in again] == [], made


def need_no_step_again(drilled: Drilled, before: int) -> None:
    """Fail if a step up to the checkpoint at `before` was trained more than once, or one never."""
    steps = Counter(map(int, drilled.logged("steps")))
    assert set(steps) == set(range(1, STEPS_OF_TRAINING + 1))
    assert [step for step in steps if step <= before and steps[step] > 1] == []


def wait_for(
    true: Callable[[], bool],
    otherwise: str,
    beside: "subprocess.Popen[Any] | None" = None,
    seconds: float = PATIENCE_S,
) -> None:
    """Wait until something is so; fail if it never is, or if the process `beside` ends first."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, otherwise
        assert beside is None or beside.poll() is None, f"{otherwise}: the line has ended"
        time.sleep(0.05)


def kill(*numbers: int) -> None:
    """Kill processes as the kernel's OOM killer does."""
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def make_project(root: Path, extra: dict[str, str] | None = None) -> Drilled:
    """Return the drill's line in a folder of its own, with its git, DVC and MLflow store."""
    shutil.copytree(HERE / "line", root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "gitignore").rename(root / ".gitignore")
    (root / "recipes").mkdir()
    shutil.copy(REPOSITORY / "recipes" / "sentiment.yaml", root / "recipes" / "toy.yaml")
    (root / "knobs").mkdir()
    for stage in STAGES:
        (root / "knobs" / stage).write_text("well", encoding="utf-8")
    project = Drilled(root, extra or {})
    for words in (
        ("git", "init", "-q"),
        ("git", "config", "user.email", "drill@example.org"),
        ("git", "config", "user.name", "Drill"),
        (sys.executable, "-m", "dvc", "init", "-q"),
        (sys.executable, "-m", "dvc", "config", "core.autostage", "true"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "drill"),
        (sys.executable, "-c", "from flows.store import client; client().search_experiments()"),
    ):
        done = project.run(*words)
        assert done.returncode == 0, done.stderr
    return project
