"""A copy of this repository in which the real line is run by its commands."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("MLFLOW_", "PREFECT_", "TUNELINE_")


@dataclass(frozen=True)
class Project:
    """A working copy with its own git, DVC cache, MLflow store and Prefect database."""

    root: Path

    @property
    def env(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        path = [str(Path(sys.executable).parent), env.get("PATH", "")]
        return {**env, "PATH": os.pathsep.join(path), "PYTHONPATH": str(self.root)}

    def run(self, *words: str, **env: str) -> str:
        """Run a command here and return what it printed; fail with it if it fails."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def tuneline(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "flows.cli", *words)

    def dvc(self, *words: str) -> str:
        return self.run("dvc", *words)


def copy_of_repository(root: Path) -> Project:
    """Return a project at `root` made of what git would give to a fresh clone."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        # What was run here already must not count there.
        if name != "dvc.lock" and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    project = Project(root)
    project.run("git", "init", "-q")
    project.run("git", "config", "user.email", "line@example.org")
    project.run("git", "config", "user.name", "Line")
    params = "recipes:\n  - tiny\n"
    (root / "params.yaml").write_text(params, encoding="utf-8")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "copy")
    return project
