"""A toy project whose servers and worker are up: its commands, its servers, what they show."""

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toy_project import REPOSITORY, Toy

from flows.up_state import Servers, read_servers

PATIENCE_S = 600
SECRET = "pl4nted-5ecret"
SECRETS = {
    "TUNELINE_ALERT_WEBHOOK": f"http://127.0.0.1:9/{SECRET}",
    "HF_TOKEN": SECRET,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "PLANTED": SECRET,
}
STILL = """
document.getAnimations()
    .filter(one => one.effect.getComputedTiming().endTime !== Infinity)
    .every(one => one.playState !== 'running')
"""
WITHOUT = """
(() => {{
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        texts.currentNode.data = texts.currentNode.data.replaceAll({path}, '');
}})()
"""


def tuneline(toy: Toy, *words: str, good: bool = True) -> str:
    done = toy.run(sys.executable, "-m", "flows.cli", *words, **SECRETS)
    assert (done.returncode == 0) is good, done.stdout + done.stderr
    return done.stdout


def status(toy: Toy) -> dict[str, Any]:
    done = toy.run(sys.executable, "-m", "flows.cli", "status", "--json")
    return dict(json.loads(done.stdout))


def wait(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < end, what
        time.sleep(0.5)
    return found


def servers(toy: Toy) -> Servers:
    found = read_servers(toy.root)
    assert found is not None
    return found


def deployments(toy: Toy) -> list[dict[str, Any]]:
    import httpx

    page = servers(toy).services["Prefect"].page
    return list(httpx.post(f"{page}/api/deployments/filter", json={}, timeout=60).json())


def run_deployment(toy: Toy, name: str, **parameters: Any) -> str:
    import httpx

    found = next(one for one in deployments(toy) if one["name"] == name)
    api = f"{servers(toy).services['Prefect'].page}/api"
    body = {"parameters": {"recipe": "toy", **parameters}, "state": {"type": "SCHEDULED"}}
    address = f"{api}/deployments/{found['id']}/create_flow_run"

    def made_() -> Any:
        answer = httpx.post(address, json=body, timeout=60)
        return None if answer.status_code == 503 else answer  # SQLite is locked on a busy machine

    made = wait(made_)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def flow_run(toy: Toy, run: str) -> dict[str, Any]:
    import httpx

    page = servers(toy).services["Prefect"].page
    return dict(httpx.get(f"{page}/api/flow_runs/{run}", timeout=60).json())


def ended(toy: Toy, run: str) -> dict[str, Any] | None:
    found = flow_run(toy, run)
    return found if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED") else None


def runs(toy: Toy) -> list[Any]:
    from mlflow.tracking import MlflowClient

    store = MlflowClient(toy.env()["MLFLOW_TRACKING_URI"])
    experiment = store.get_experiment_by_name("toy")
    return list(store.search_runs([experiment.experiment_id]))


def flow_runs_of(toy: Toy, run: str) -> list[Any]:
    """Return the flow runs that name an MLflow run."""
    import httpx

    api = f"{servers(toy).services['Prefect'].page}/api"
    wanted = {"flow_runs": {"tags": {"all_": [f"mlflow:{run}"]}}}
    return list(httpx.post(f"{api}/flow_runs/filter", json=wanted, timeout=60).json())


def picture(page: Any, name: str, folder: Path) -> None:
    """Take a picture of a page that stands still, without the paths of this machine."""
    page.wait(STILL)
    page.value(WITHOUT.format(path=json.dumps(f"{REPOSITORY}/")))
    file = Path(os.environ.get("TUNELINE_PICTURES", folder)) / f"{name}.png"
    shot = page.call("Page.captureScreenshot", format="png")
    file.write_bytes(base64.b64decode(shot["data"]))
