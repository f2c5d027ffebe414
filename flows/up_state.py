"""What `tuneline up` has started: a file with names, process ids, start times and addresses.

A process is known by a mark in its environment, which all that it starts inherits: a process id
that the machine has given to somebody else since is never taken for ours.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from components.contracts.errors import ArtefactError

MARK = "TUNELINE_UP"
PREFECT, WORKER, MLFLOW = "Prefect", "worker", "MLflow"


@dataclass(frozen=True)
class Service:
    """A process that was started. `started` is in UTC; `page` is empty for what has none."""

    name: str
    pid: int
    started: str
    log: str
    page: str = ""


@dataclass
class Servers:
    """All that belongs to one `tuneline up`, by name."""

    mark: str = field(default_factory=lambda: uuid4().hex)
    services: dict[str, Service] = field(default_factory=dict)

    def alive(self) -> dict[str, Service]:
        """Return the services that run now."""
        return {n: one for n, one in self.services.items() if is_marked(one.pid, self.mark)}


def state_file(root: Path) -> Path:
    return root / ".tuneline" / "servers.json"


def read_servers(root: Path) -> Servers | None:
    """Return what was started here, None if nothing was or all was stopped again.

    Raises `ArtefactError` for a file that cannot be read.
    """
    file = state_file(root)
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        services = {name: Service(**one) for name, one in found["services"].items()}
        return Servers(found["mark"], services)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{file} is not what `tuneline up` writes: {error}",
            fix="stop the servers by hand (`ps`), delete the file, and run `tuneline up` again",
        ) from error


def write_servers(root: Path, servers: Servers) -> None:
    """Write the file in one piece; with no service left, remove it."""
    file = state_file(root)
    if not servers.services:
        file.unlink(missing_ok=True)
        return
    beside = file.with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(servers), indent=2) + "\n", encoding="utf-8")
    beside.replace(file)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Let one `up` or `down` of a project work at a time; a second one waits."""
    state_file(root).parent.mkdir(exist_ok=True)
    with state_file(root).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_marked(pid: int, mark: str) -> bool:
    """Say whether a process runs and bears the mark."""
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(process.environ().get(MARK) == mark and process.status() != "zombie")
    except (psutil.Error, OSError):
        return False


def marked(mark: str) -> list[Any]:
    """Return every process of this machine that bears the mark, this one left out."""
    import os

    import psutil

    return [p for p in psutil.process_iter() if p.pid != os.getpid() and is_marked(p.pid, mark)]


def prefect_api(root: Path) -> str | None:
    """Return the address of the Prefect server that runs for this project, if one does."""
    servers = read_servers(root) if state_file(root).is_file() else None
    service = servers.alive().get(PREFECT) if servers else None
    return f"{service.page}/api" if service else None


def pages(root: Path) -> dict[str, str]:
    """Return the pages of what `tuneline up` has running, by name."""
    servers = read_servers(root)
    return {n: one.page for n, one in servers.alive().items() if one.page} if servers else {}
