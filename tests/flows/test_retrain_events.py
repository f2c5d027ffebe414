"""A real Prefect server: rows come, the automation runs the retrain deployment."""

import json
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from champion_project import NAME, NEW, give_store, register
from data_project import write_rows
from test_schedule import PREFECT, in_background, prefect, wait_until_up
from toy_project import REPOSITORY, Toy

from flows.retrain_events import rows_came
from flows.ui import HOST, free_port

DEPLOYMENTS = """
name: events
pull:
  - prefect.deployments.steps.set_working_directory: {{directory: "{root}"}}
deployments:
  - name: retrain-tiny
    entrypoint: {flows}/retrain.py:retrain
    parameters: {{recipe: tiny}}
    work_pool: {{name: events}}
"""
AUTOMATE = "from flows.retrain_events import automate; print(automate())"


def test_without_a_server_nothing_is_sent_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, prefect_server: object
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    told: list[str] = []
    with temporary_settings({PREFECT_API_URL: f"http://{HOST}:{free_port(0)}/api"}):
        assert rows_came(NAME, ["rows.jsonl"], told.append) is False
    assert "does not answer" in told[0]
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert rows_came(NAME, ["rows.jsonl"], told.append) is False


@pytest.mark.slow
def test_data_add_runs_the_deployment(
    versions_here: Toy, toy_template: Path, tmp_path: Path
) -> None:
    give_store(versions_here, toy_template)
    register(versions_here, NEW, champion=True)
    root, port = versions_here.root, free_port(0)
    api = f"http://{HOST}:{port}/api"
    env = versions_here.env()
    server = (*PREFECT, "server", "start", "--host", HOST, "--port", str(port))
    with (
        (tmp_path / "server.log").open("w") as server_log,
        (tmp_path / "worker.log").open("w") as worker_log,
        in_background(server, root, env, server_log),
    ):
        wait_until_up(api, 600)
        env["PREFECT_API_URL"] = api
        prefect(versions_here, env, "work-pool", "create", "events", "--type", "process")
        text = DEPLOYMENTS.format(root=root, flows=REPOSITORY / "flows")
        (root / "prefect.yaml").write_text(text, encoding="utf-8")
        prefect(versions_here, env, "--no-prompt", "deploy", "--all")
        for _ in range(2):  # made once, renewed the second time
            done = versions_here.run(sys.executable, "-c", AUTOMATE, PREFECT_API_URL=api)
            assert done.stdout.strip() == "['retrain tiny when rows come']", done.stderr
        added = add_rows(versions_here, tmp_path, api)
        assert added.returncode == 0, added.stderr
        with in_background(
            (*PREFECT, "worker", "start", "--pool", "events"), root, env, worker_log
        ):
            run = ended_run(api, 600)

    assert run["state_name"] == "Skipped", run["state"]
    came = re.search(r"(\d+) new rows came", run["state"]["message"])
    assert came, run["state"]
    assert 25 < int(came[1]) <= 30, "made rows may be doubles of others"
    assert run["auto_scheduled"] is False
    shown = json.loads((root / ".tuneline/retrain/tiny.json").read_text(encoding="utf-8"))
    assert shown["prefect_flow_run_id"] == run["id"]


def add_rows(project: Toy, folder: Path, api: str) -> "subprocess.CompletedProcess[str]":
    file = write_rows(folder / "added.jsonl", 30, seed=9)
    command = ("-m", "flows.cli", "data", "add", str(file), "--recipe", NAME)
    return project.run(sys.executable, *command, PREFECT_API_URL=api)


def ended_run(api: str, seconds: float) -> dict:
    import httpx

    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end:
        with suppress(httpx.TransportError):  # a busy server is asked again
            found = httpx.post(f"{api}/flow_runs/filter", json=wanted, timeout=30).json()
        if found:
            assert len(found) == 1, "one event, one run"
            return dict(found[0])
        time.sleep(1)
    raise AssertionError("no run came to an end")
