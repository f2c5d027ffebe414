"""An environment of its own with the newest packages that pyproject.toml allows."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from components.contracts.errors import TunelineError, UnreachableError

UNREACHED = (
    "NewConnectionError",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Network is unreachable",
    "ProxyError",
    "SSLError",
    "(from versions: none)",
)
"""What pip says where no index answers: also that of a package it knows no version at all."""

LAST_LINES = 12
Tell = Callable[[str], None]


class CanaryError(TunelineError):
    """The canary cannot say anything, or says that something breaks."""


def newest(root: Path, folder: Path, extra: str, constraint: Path | None, tell: Tell) -> str:
    """Make an environment in `folder`; return its interpreter.

    torch comes first and by its pinned version, as in the Makefile: so the machine's own build of
    it (CPU or CUDA) stays. All else is as new as pyproject.toml and `constraint` allow.

    Raises:
        UnreachableError: pip can reach no index.
        CanaryError: pip finds no set of versions, or cannot install one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    tell(f"making an environment with the newest packages in {folder} (some minutes, 2.5 GB)")
    _run([sys.executable, "-m", "venv", str(folder)])
    python = str(folder / "bin" / "python")
    pinned = torch_pin(root)
    limits = ["-c", str(constraint.absolute())] if constraint else []
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    try:
        _run([*pip, pinned])
        _run([*pip, *limits, pinned, *wanted(root, extra)])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # half of one would be taken for whole
        raise
    return python


def torch_pin(root: Path) -> str:
    """Return the line of constraints.txt that pins torch; raise `CanaryError` without one."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [line.strip() for line in lines if line.startswith("torch==")]
    if not found:
        raise CanaryError(
            "constraints.txt pins no torch (a line `torch==…`)",
            fix="pin it, so that the machine's own build of it is taken",
        )
    return found[0]


def wanted(root: Path, extra: str) -> list[str]:
    """Return what pyproject.toml requires, with one of its extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode == 0:
        return
    last = "\n  ".join(done.stdout.strip().splitlines()[-LAST_LINES:])
    if any(mark in done.stdout for mark in UNREACHED):
        raise UnreachableError(
            f"pip reaches no package index, so there are no newest packages to try:\n  {last}",
            fix="set pip's index (`pip config list`) or run where there is a network; an "
            "environment that is there already is checked with --python PATH",
        )
    raise CanaryError(
        f"`{' '.join(command[1:5])} …` failed:\n  {last}",
        fix="the ranges in pyproject.toml may contradict each other: see what pip says, or narrow "
        "them with --constraint FILE",
    )
