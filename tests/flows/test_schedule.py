"""A real Prefect server, a deployment on a schedule of seconds and a worker that runs it.

SQLAlchemy 2.1 made schedules create no runs without a word: only this test would have seen it.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from toy_project import REPOSITORY, STAGES, Toy

from flows.record import read_record
from flows.ui import HOST, free_port, stop

PREFECT = (sys.executable, "-m", "prefect")
DEPLOYMENT = """
name: toy
pull:
  - prefect.deployments.steps.set_working_directory: {{directory: "{root}"}}
deployments:
  - name: often
    entrypoint: {entrypoint}
    parameters: {{recipe: toy}}
    work_pool: {{name: toy}}
    concurrency_limit: {{limit: 1, collision_strategy: CANCEL_NEW}}
    schedules:
      - {{interval: 5}}
"""


@contextmanager
def in_background(
    words: tuple[str, ...], folder: Path, env: dict[str, str], log: IO[str]
) -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen(
        words, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield child
    finally:
        stop(child)


def wait_until_up(address: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urlopen(f"{address}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"{address} does not answer")


@pytest.mark.slow
def test_a_schedule_creates_a_run_that_a_worker_completes(toy: Toy) -> None:
    port = free_port(0)
    api = f"http://{HOST}:{port}/api"
    env = toy.env()
    server = (*PREFECT, "server", "start", "--host", HOST, "--port", str(port))
    with (
        (toy.root / ".tuneline/server.log").open("w") as server_log,
        (toy.root / ".tuneline/worker.log").open("w") as worker_log,
        in_background(server, toy.root, env, server_log),
    ):
        wait_until_up(api, 180)
        env["PREFECT_API_URL"] = api
        prefect(toy, env, "work-pool", "create", "toy", "--type", "process")
        deployment = DEPLOYMENT.format(
            root=toy.root, entrypoint=REPOSITORY / "flows" / "finetune.py:finetune"
        )
        (toy.root / "prefect.yaml").write_text(deployment, encoding="utf-8")
        prefect(toy, env, "--no-prompt", "deploy", "--all")
        worker = (*PREFECT, "worker", "start", "--pool", "toy")
        with in_background(worker, toy.root, env, worker_log):
            run = scheduled_run_that_ended(api, 240)

    assert run["state_name"] == "Completed", run
    assert run["auto_scheduled"] is True
    assert set(toy.calls()) == set(STAGES)
    assert read_record(toy.root, "toy") is not None  # perhaps the next run's by now


def prefect(toy: Toy, env: dict[str, str], *words: str) -> None:
    done = toy.run(*PREFECT, *words, **env)
    assert done.returncode == 0, done.stdout + done.stderr


def scheduled_run_that_ended(api: str, seconds: float) -> dict[str, object]:
    """Return the first scheduled flow run that came to an end."""
    import httpx

    wanted = {
        "sort": "EXPECTED_START_TIME_ASC",
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
    }
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = httpx.post(f"{api}/flow_runs/filter", json=wanted, timeout=30).json()
        if found:
            return dict(found[0])
        time.sleep(1)
    raise AssertionError("the schedule made no run that a worker brought to an end")
