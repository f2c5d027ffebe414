"""`tuneline ui`: the MLflow server and the Prefect server on this project's databases."""

import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console

from components.contracts.errors import ArtefactError
from flows.environment import state_folder
from flows.up_state import pages

HOST = "127.0.0.1"
STARTUP_S = 180
STOP_S = 15


@dataclass(frozen=True)
class Server:
    """A server to start: its command, its page, the address that answers when it is up."""

    name: str
    command: Sequence[str]
    page: str
    health: str
    env: dict[str, str]


def serve(root: Path, console: Console, *, browser: bool) -> None:
    """Start both servers, say where they are, wait for Ctrl-C (or SIGTERM) and stop both."""
    with stopped_by_signals():
        start_and_wait(root, console, browser=browser)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM raise `KeyboardInterrupt`, whatever was inherited.

    What a script starts in the background inherits SIGINT as ignored.
    """
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_and_wait(root: Path, console: Console, *, browser: bool) -> None:
    """Start what does not run elsewhere, and stop it on `KeyboardInterrupt`."""
    there = elsewhere() | pages(root)
    for name, page in there.items():
        console.print(f"{name:<8}{page} (runs there already)", highlight=False)
    servers = [
        make(root, free_port(port))
        for name, make, port in (("MLflow", mlflow_server, 5000), ("Prefect", prefect_server, 4200))
        if name not in there
    ]
    with ExitStack() as stack:
        try:
            children = [start(root, server, stack) for server in servers]
            console.print("starting …")
            for server, child in zip(servers, children, strict=True):
                wait_for(root, server, child)
                console.print(f"{server.name:<8}{server.page}", highlight=False)
                if browser:
                    webbrowser.open(server.page)
            console.print("Ctrl-C stops what was started")
            while children and all(child.poll() is None for child in children):
                time.sleep(0.5)
        except KeyboardInterrupt:
            console.print("\nstopped")


def elsewhere() -> dict[str, str]:
    """Return the pages of the servers that the environment names: they are not started here."""
    tracking = os.environ["MLFLOW_TRACKING_URI"]
    pages = {"MLflow": tracking} if tracking.startswith("http") else {}
    prefect = os.environ.get("PREFECT_API_URL")
    return pages | ({"Prefect": prefect.removesuffix("/api")} if prefect else {})


def mlflow_server(root: Path, port: int) -> Server:
    """Return the MLflow server on the project's store; two processes instead of ten."""
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1"]
    command += ["--default-artifact-root", (root / "mlflow" / "artifacts").as_uri()]
    env = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # not as an option: a database's address holds its password, and all may list processes
        "MLFLOW_BACKEND_STORE_URI": os.environ["MLFLOW_TRACKING_URI"],
    }
    return Server("MLflow", command, address, f"{address}/health", env)


def prefect_server(_: Path, port: int) -> Server:
    """Return the Prefect server on the database that `prepare` has named."""
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", HOST, "--port", str(port)]
    env = {"PREFECT_UI_API_URL": f"{address}/api", "PREFECT_API_URL": f"{address}/api"}
    return Server("Prefect", command, address, f"{address}/api/health", env)


def free_port(wanted: int) -> int:
    """Return `wanted` if nothing listens there, else a port that is free now."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ArtefactError("no port is free on this machine", fix="stop some server and try again")


def start(root: Path, server: Server, stack: ExitStack) -> "subprocess.Popen[bytes]":
    """Start a server in its own session, its output in .tuneline/logs; `stack` stops it."""
    log = stack.enter_context(log_file(root, server).open("ab"))
    child = subprocess.Popen(
        server.command,
        cwd=root,
        env={**os.environ, **server.env},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    stack.callback(stop, child)
    return child


def log_file(root: Path, server: Server) -> Path:
    """Return where a server's output goes."""
    folder = state_folder(root) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{server.name.lower()}.log"


def wait_for(root: Path, server: Server, child: "subprocess.Popen[bytes]") -> None:
    """Wait until a server answers; raise `ArtefactError` naming its log if it never does."""
    end = time.monotonic() + STARTUP_S
    while time.monotonic() < end and child.poll() is None:
        try:
            with urlopen(server.health, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise ArtefactError(
        f"the {server.name} server did not start", fix=f"see {log_file(root, server)}"
    )


def stop(child: "subprocess.Popen[bytes]") -> None:
    """Ask a server's whole session to end, then make it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        os.killpg(child.pid, sign)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
