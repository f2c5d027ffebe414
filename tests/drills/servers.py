"""Servers for a drill, to be killed and started again."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from drilled import Drilled, kill, wait_for

from flows.ui import HOST, free_port, stop

PREFECT = (sys.executable, "-m", "prefect")


class PrefectServer:
    """A Prefect server with a database in `folder`; `restart` kills it and starts it again."""

    def __init__(self, folder: Path, port: int, **env: str) -> None:
        self.folder, self.port = folder, port
        self.api = f"http://{HOST}:{port}/api"
        self.env = {
            **os.environ,
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_HOME": str(folder),
            **env,
        }
        self.env.pop("PREFECT_API_URL", None)
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        self.start()
        return self.api

    def __exit__(self, *_: object) -> None:
        self.halt()

    def start(self) -> None:
        words = (*PREFECT, "server", "start", "--host", HOST, "--port", str(self.port))
        with (self.folder / "server.log").open("ab") as log:
            self.child = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(lambda: answers(self.api), f"no server: see {self.folder}/server.log", self.child)

    def halt(self) -> None:
        if self.child:
            stop(self.child)

    def kill(self) -> None:
        assert self.child is not None
        end(self.child)


class MlflowServer:
    """An MLflow server on a project's own store, to be killed and started again."""

    def __init__(self, drilled: Drilled) -> None:
        self.drilled, self.port = drilled, free_port(0)
        self.address = f"http://{HOST}:{self.port}"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        root = self.drilled.root
        words = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port)]
        words += ["--backend-store-uri", f"sqlite:///{root}/mlflow/mlflow.db", "--workers", "1"]
        words += ["--artifacts-destination", (root / "mlflow" / "artifacts").as_uri()]
        env = self.drilled.env | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (root / ".tuneline" / "mlflow.log").open("ab") as log:
            self.child = subprocess.Popen(
                words, cwd=root.parent, env=env, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: answers(self.address), "the MLflow server does not come up")

    def kill(self) -> None:
        assert self.child is not None
        end(self.child)


def answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5):
            return True
    except (URLError, OSError):
        return False


def end(child: "subprocess.Popen[bytes]") -> None:
    """Kill a server with all below it, without a word."""
    below = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    kill(child.pid, *(process.pid for process in below))
    child.wait(30)
