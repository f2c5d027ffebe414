"""`tuneline up`: Prefect server, worker and MLflow server as processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from components.contracts.errors import ArtefactError
from flows.down import stop_services
from flows.up_state import (
    MARK,
    MLFLOW,
    PREFECT,
    WORKER,
    Servers,
    Service,
    alone,
    read_servers,
    write_servers,
)

if TYPE_CHECKING:
    from flows.ui import Server

POOL = "tuneline"
GPU = "gpu"
STARTUP_S = 600
LOG_BYTES = 10_000_000
HEALTH = {PREFECT: "/api/health", MLFLOW: "/health"}
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""So that the server learns of a flow run whose machine died with its worker."""

Tell = Callable[[str], None]


def up(root: Path, tell: Tell, gpu_slots: int | None = None) -> Servers:
    """Start what does not run yet, wait until all answers, and return what runs.

    What the environment names elsewhere (`PREFECT_API_URL`, an http `MLFLOW_TRACKING_URI`) is not
    started. If something does not start, what this call has started is stopped again.

    Raises:
        ArtefactError: a server or the worker did not start; names its log.
    """
    with alone(root):
        servers = read_servers(root) or Servers()
        alive = servers.alive()
        for name, service in alive.items():
            tell(f"{name:<8}{service.page or 'runs'} (runs already, pid {service.pid})")
        servers.services = dict(alive)
        try:
            _start_missing(root, servers, tell, gpu_slots)
        except BaseException:
            stop_services(root, servers, only=servers.services.keys() - alive.keys())
            raise
        return servers


def _start_missing(root: Path, servers: Servers, tell: Tell, gpu_slots: int | None) -> None:
    from flows.ui import free_port, mlflow_server, prefect_server

    there = elsewhere(servers)
    for name, page in there.items():
        tell(f"{name:<8}{page} (elsewhere)")
    wanted = ((PREFECT, prefect_server, 4200), (MLFLOW, mlflow_server, 5000))
    missing = [one for one in wanted if one[0] not in servers.services and one[0] not in there]
    for name, make, port in missing:
        _start_server(root, servers, name, make(root, free_port(port)))
    for name, make, _ in missing:
        try:
            wait_until(root, servers, name, partial(_serves, servers.services[name]))
        except ArtefactError:
            if name in servers.alive() or not _taken(servers.services[name].page):
                raise
            # another program took the port between our look at it and the server's
            _start_server(root, servers, name, make(root, free_port(0)))
            wait_until(root, servers, name, partial(_serves, servers.services[name]))
        tell(f"{name:<8}{servers.services[name].page}")
    if PREFECT not in there:
        os.environ["PREFECT_API_URL"] = f"{servers.services[PREFECT].page}/api"
    from flows.server import make_ready, worker_seen

    for line in make_ready(POOL, GPU, gpu_slots):
        tell(line)
    if WORKER not in servers.services:
        _start_worker(root, servers, os.environ["PREFECT_API_URL"])
        name, since = worker_name(servers), datetime.now(UTC)
        wait_until(root, servers, WORKER, lambda: worker_seen(POOL, name, since))
        tell(f"{WORKER:<8}{name}, pool {POOL}")


def elsewhere(servers: Servers) -> dict[str, str]:
    """Return the pages of servers that the environment names and that are not our own."""
    from flows.ui import elsewhere as named

    own = {one.page for one in servers.services.values()}
    return {name: page for name, page in named().items() if page not in own}


def worker_name(servers: Servers) -> str:
    return f"{POOL}-{servers.mark[:8]}"


def _start_worker(root: Path, servers: Servers, api: str) -> None:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
    command += ["--type", "process", "--name", worker_name(servers)]
    env = {"PREFECT_API_URL": api, **HEARTBEAT, "PREFECT_WORKER_QUERY_SECONDS": "5"}
    _spawn(root, servers, WORKER, command, {**env, **_given(env)}, "")


def _given(env: dict[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in env if name in os.environ}


def _spawn(
    root: Path,
    servers: Servers,
    name: str,
    command: Sequence[str],
    env: dict[str, str],
    page: str,
) -> None:
    """Start a process in a session of its own, its output into the one folder of logs."""
    file = log_file(root, name)
    with file.open("ab") as log:
        child = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, **env, MARK: servers.mark},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    where = str(file.relative_to(root))
    servers.services[name] = Service(name, child.pid, now, where, page)
    write_servers(root, servers)


def log_file(root: Path, name: str) -> Path:
    """Return where a service's output goes; what has grown too long is laid aside once."""
    folder = root / ".tuneline" / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name.lower()}.log"
    if file.is_file() and file.stat().st_size > LOG_BYTES:
        file.replace(file.with_suffix(".log.1"))
    return file


def wait_until(root: Path, servers: Servers, name: str, ready: Callable[[], bool]) -> None:
    """Wait until a service is ready; raise `ArtefactError` with its last words if it never is."""
    end = time.monotonic() + STARTUP_S
    while time.monotonic() < end and name in servers.alive():
        if ready():
            return
        time.sleep(0.3)
    file = root / servers.services[name].log
    last = file.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    raise ArtefactError(
        f"{name} did not start:\n  " + "\n  ".join(last), fix=f"see {file}, then `tuneline up`"
    )


def _start_server(root: Path, servers: Servers, name: str, server: "Server") -> None:
    _spawn(root, servers, name, server.command, server.env, server.page)


def _serves(service: Service) -> bool:
    """Say whether the service itself, not another program, listens on its port and answers."""
    import psutil

    port = urlsplit(service.page).port
    try:
        process = psutil.Process(service.pid)
        ours = [process, *process.children(recursive=True)]
        listens = any(
            one.status == psutil.CONN_LISTEN and one.laddr.port == port
            for member in ours
            for one in member.net_connections("tcp")
        )
    except psutil.Error:
        return False
    return listens and _answers(service.page + HEALTH[service.name])


def _taken(page: str) -> bool:
    """Say whether something listens on the port of a page."""
    from flows.ui import free_port

    port = urlsplit(page).port or 0
    return free_port(port) != port


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):
            return True
    except (URLError, OSError):
        return False
