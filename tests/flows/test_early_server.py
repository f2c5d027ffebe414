"""Prefect's temporary server is begun early, only where one is wanted, and never outlives us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from flows.early_server import OWN, Begun, begin_server
from flows.ready import hand_over
from flows.ui import free_port

ROOT = Path(__file__).resolve().parents[2]

PARENT = """
import os, signal, sys
from flows.early_server import begin_server
begun = begin_server()
print(begun.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def env_of(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which nothing but `more` tells Prefect of a server."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return {**known, "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def test_where_a_server_is_named_none_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert begin_server() is None


def test_it_ends_by_itself_where_the_settings_name_a_server(tmp_path: Path) -> None:
    named = '[profiles.here]\nPREFECT_API_URL = "http://127.0.0.1:4200/api"\n'
    (tmp_path / "profiles.toml").write_text(f'active = "here"\n{named}')
    words = [sys.executable, "-m", "flows.early_server", str(free_port(0))]
    ended = subprocess.run(
        words, env=env_of(tmp_path, **OWN), capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells of a parent's end")
def test_it_is_gone_when_its_parent_was_killed(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", PARENT],
        env=env_of(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    pid, end = int(killed.stdout), time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the server outlives the process that wanted it"
        time.sleep(0.05)


def test_the_first_process_is_the_one_begun_and_the_next_prefects_own() -> None:
    def another() -> str:
        return "prefect's own"

    begun: Any = SimpleNamespace(pid=1)
    server = SimpleNamespace(port=None, _run_uvicorn_command=another)
    hand_over(Begun(8123, begun), server)
    assert server.port == 8123
    run: Any = server._run_uvicorn_command
    assert [run(), run(), run()] == [begun, "prefect's own", "prefect's own"]


def test_prefect_takes_it_as_its_own(tmp_path: Path) -> None:
    """The whole of it in a process of its own: started, waited for, asked, ended."""
    script = """
import os
from flows.early_server import begin_server
begun = begin_server()
from prefect.server.api.server import SubprocessASGIServer
from flows.ready import hand_over
server = SubprocessASGIServer()
hand_over(begun, server)
server.start()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    assert str(client.api_url).startswith(f"http://127.0.0.1:{begun.port}/"), client.api_url
    assert client.read_flow_runs() == []
assert server.server_process is begun.process
server.stop()
print("ended", begun.process.returncode is not None)
"""
    url = f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}"
    env = env_of(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=url)
    env |= {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ended True\n"
