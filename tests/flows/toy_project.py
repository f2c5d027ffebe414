"""A working copy of the toy project: the shape of the real line, with stages that take no time."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.environment import prepare

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
STAGES = ("ingest", "fetch", "train", "evaluate", "verify", "gate", "register")


@dataclass(frozen=True)
class Toy:
    """A working copy of the toy project, with its git and DVC set up."""

    root: Path

    def turn(self, stage: str, behaviour: str) -> None:
        (self.root / "knobs" / stage).write_text(behaviour, encoding="utf-8")

    def calls(self) -> list[str]:
        """Return the stages whose step was really called since the last look."""
        log = self.root / "calls.log"
        names = log.read_text(encoding="utf-8").split() if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project with this interpreter's folder first on the path."""
        return subprocess.run(
            words,
            cwd=self.root,
            env={**self.env(), **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def dvc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *words)

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the project the working directory and environment of this very process."""
        for name in STORES:
            monkeypatch.delenv(name, raising=False)
        for name, value in self.env().items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(self.root)

    def env(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name not in STORES}
        prepare(self.root, env)
        env["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), env.get("PYTHONPATH", "")])
        return env


STORES = ("MLFLOW_TRACKING_URI", "PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_API_URL")
