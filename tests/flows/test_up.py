"""`tuneline up`, `deploy`, `status` and `down`, with real servers and a real worker."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from chromium import CHROMIUM, browser
from toy_project import REPOSITORY, Toy
from toy_up import (
    PATIENCE_S,
    SECRET,
    SECRETS,
    deployments,
    ended,
    flow_runs_of,
    picture,
    run_deployment,
    runs,
    servers,
    status,
    tuneline,
    wait,
)

from flows.environment import prepare
from flows.up_state import MARK, Service, marked, read_servers, write_servers

pytestmark = pytest.mark.slow
DEPLOYMENTS = """
name: toy
deployments:
  - name: weekly
    entrypoint: {flows}/finetune.py:finetune
    parameters: {{recipe: toy}}
    work_pool: {{name: tuneline}}
    concurrency_limit: {{limit: 1, collision_strategy: ENQUEUE}}
    schedules:
      - {{cron: "0 3 * * 1", timezone: UTC}}
  - name: daily
    entrypoint: {flows}/data_check.py:data_check
    parameters: {{recipe: toy}}
    work_pool: {{name: tuneline}}
    schedules:
      - {{cron: "30 2 * * *", timezone: UTC}}
"""


@pytest.fixture(scope="module")
def up(made_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """A project whose line is made, with servers and worker up and both deployments on."""
    root = tmp_path_factory.mktemp("up") / "toy"
    shutil.copytree(made_template, root)
    toy = Toy(root)
    toy.calls()
    (root / "prefect.yaml").write_text(DEPLOYMENTS.format(flows=REPOSITORY / "flows"))
    said = tuneline(toy, "up")
    try:
        assert re.search(r"Prefect\s+http://127.0.0.1:\d+\n", said)
        assert re.search(r"MLflow\s+http://127.0.0.1:\d+\n", said)
        assert re.search(r"worker\s+tuneline-\w{8}, pool tuneline", said)
        assert "limit   gpu: 1 at a time" in said
        yield toy
    finally:
        toy.run(sys.executable, "-m", "flows.cli", "down")


def test_a_second_up_says_what_runs(up: Toy) -> None:
    before = {name: one.pid for name, one in servers(up).services.items()}
    assert set(before) == {"Prefect", "MLflow", "worker"}
    said = tuneline(up, "up")
    assert said.count("runs already, pid") == 3
    assert {name: one.pid for name, one in servers(up).services.items()} == before
    logs = {file.name for file in (up.root / ".tuneline/logs").iterdir()}
    assert logs == {"prefect.log", "mlflow.log", "worker.log"}
    of_mlflow = psutil.Process(before["MLflow"]).children(recursive=True)
    assert len(of_mlflow) <= 3, "no job processes"
    sessions = {os.getsid(pid) for pid in before.values()}
    assert sessions == set(before.values()), "each leads a session of its own"


def test_deploy_tells_schedule_and_next_run_and_offers_the_recipes(up: Toy) -> None:
    said = tuneline(up, "deploy")
    assert re.search(
        r"finetune/weekly: cron 0 3 \* \* 1 \(UTC\); next run \d{4}-.* 03:00 UTC", said
    )
    assert re.search(r"data-check/daily: cron 30 2 .*; next run \d{4}-.* 02:30 UTC", said)
    assert tuneline(up, "deploy") == said, "again is the same"

    facts = status(up)
    assert [one["deployment"] for one in facts["next"]] == ["data-check/daily", "finetune/weekly"]
    assert all(one["alive"] for one in facts["services"])
    assert [one["online"] for one in facts["workers"]] == [True]
    assert facts["gpu"] == {"slots": 1, "taken": 0}
    assert facts["disk"]["total"] > 0
    assert "next runs:" in tuneline(up, "status")

    for one in deployments(up):
        schema = one["parameter_openapi_schema"]["properties"]["recipe"]
        assert schema["enum"] == ["toy"]
        assert "recipe on the line" in schema["description"]


def test_a_run_of_the_worker_and_one_by_hand_are_on_the_one_server(up: Toy) -> None:
    run = run_deployment(up, "weekly")
    found = wait(lambda: ended(up, run))
    assert found["state_name"] == "Completed", found
    assert up.calls() == [], "nothing had changed, so no stage ran"

    up.turn("evaluate", "otherwise")
    said = tuneline(up, "run", "toy")
    assert "without a running server" not in said
    last = status(up)["last"]
    assert len(last) >= 2
    assert [one["state"] for one in last[:2]] == ["Completed", "Completed"]


def test_what_is_wrong_with_the_parameters_is_refused_by_the_server(up: Toy) -> None:
    with pytest.raises(AssertionError, match="toi"):
        run_deployment(up, "weekly", recipe="toi")


def test_of_two_runs_at_once_one_works_and_the_other_waits(up: Toy) -> None:
    up.turn("train", "sleep 8")
    up.calls()
    before = len(runs(up))
    command = [sys.executable, "-m", "flows.cli", "run", "toy"]
    both = [
        subprocess.Popen(command, cwd=up.root, env=up.env(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=PATIENCE_S)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert all("to do: train" in text for text in said), "both began before one had ended"
    calls = up.calls()
    assert "train" in calls
    assert len(calls) == len(set(calls)), "no stage ran twice"
    assert len(runs(up)) == before + 1, "the second had no news"
    newest = runs(up)[0]
    assert newest.data.tags["stage.train"] == "ran"
    assert len(flow_runs_of(up, newest.info.run_id)) == 2, "both name it"


UNCHANGED = """
from flows.finetune import finetune

print(finetune("toy", return_state=True).message)
"""


def test_a_flow_run_with_nothing_to_do_does_without_mlflow(up: Toy) -> None:
    done = up.run(sys.executable, "-X", "importtime", "-c", UNCHANGED)
    assert "nothing has changed since MLflow run" in done.stdout, done.stderr
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "prefect.flow_engine" in loaded
    assert not loaded & {"mlflow", "torch", "transformers", "pandas"}


BLOCK = """
import os
from flows.email_block import TunelineEmail
TunelineEmail(host="127.0.0.1", port=9, security="none", username="line",
              password=os.environ["PLANTED"], sender="a@example.org",
              recipients=["b@example.org"]).save("ops")
"""


def test_planted_secrets_are_in_no_store(up: Toy) -> None:
    """In the environment of server, worker and run, in a block, in the address of a web hook."""
    import httpx

    said = up.run(sys.executable, "-c", BLOCK, **SECRETS)
    assert said.returncode == 0, said.stderr
    params = up.root / "params.yaml"
    text = params.read_text()
    params.write_text(f"{text}operation: {{alerts: [tuneline-email/ops]}}\n")
    up.turn("evaluate", "bad data")
    run = run_deployment(up, "weekly")
    found = wait(lambda: ended(up, run))
    assert found["state_type"] == "FAILED"
    api = f"{servers(up).services['Prefect'].page}/api"
    asked = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}

    def logged() -> list[str]:
        lines = [one["message"] for one in httpx.post(f"{api}/logs/filter", json=asked).json()]
        return [line for line in lines if "not taken by" in line]

    notes = wait(lambda: found if len(found := logged()) == 2 else None)
    assert any("not taken by tuneline-email/ops: ConnectionRefusedError" in one for one in notes)
    assert any("not taken by TUNELINE_ALERT_WEBHOOK: ConnectError" in one for one in notes)

    holding = [
        file.relative_to(up.root).as_posix()
        for file in up.root.rglob("*")
        if file.is_file() and SECRET.encode() in file.read_bytes()
    ]
    assert holding == []
    assert any(file.name == "prefect.db" for file in up.root.rglob("*.db"))
    params.write_text(text)
    up.turn("evaluate", "otherwise")


def test_the_server_takes_the_kubernetes_job_template(up: Toy) -> None:
    import httpx

    api = f"{servers(up).services['Prefect'].page}/api"
    template = json.loads((REPOSITORY / "deploy/kubernetes/base-job-template.json").read_text())
    pool = {"name": "cluster", "type": "kubernetes", "base_job_template": template}
    assert httpx.post(f"{api}/work_pools/", json=pool, timeout=60).status_code == 201

    del template["variables"]["properties"]["gpus"]
    broken = {**pool, "name": "broken", "base_job_template": template}
    refused = httpx.post(f"{api}/work_pools/", json=broken, timeout=60)
    assert refused.status_code == 422
    assert "gpus" in refused.text

    one = next(one for one in deployments(up) if one["name"] == "daily")
    address = f"{api}/deployments/{one['id']}"
    for gpus, status_code in ((2, 204), ("many", 409)):
        change = {"work_pool_name": "cluster", "job_variables": {"gpus": gpus}}
        answer = httpx.patch(address, json=change, timeout=60)
        assert answer.status_code == status_code, answer.text
    httpx.patch(address, json={"work_pool_name": "tuneline", "job_variables": {}}, timeout=60)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")
def test_browser_shows_the_schedule_and_the_form_of_a_deployment(up: Toy, tmp_path: Path) -> None:
    one = next(one for one in deployments(up) if one["name"] == "weekly")
    address = servers(up).services["Prefect"].page
    with browser(tmp_path / "profile") as page:
        page.call("Emulation.setDeviceMetricsOverride", width=1400, height=1000,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        page.open(f"{address}/deployments/deployment/{one['id']}")
        page.wait("document.body.innerText.includes('03:00 AM')")
        assert "weekly" in page.text()
        page.wait("document.body.innerText.includes('Completed')")
        picture(page, "prefect-schedule", tmp_path)
        page.open(f"{address}/deployments/deployment/{one['id']}/run")
        page.wait("document.body.innerText.includes('A recipe on the line')")
        assert "recipe" in page.text()
        picture(page, "prefect-deployment", tmp_path)


HEADER = """
[...document.querySelectorAll('[class*=collapse-header]')]
    .find(one => one.innerText.includes('Visualizations')).click()
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")
def test_browser_compares_two_runs_in_mlflow(up: Toy, tmp_path: Path) -> None:
    """Another setting and what came of it stand beside those of the run before."""
    up.turn("evaluate", "accuracy 0.91")
    tuneline(up, "run", "toy")
    recipe = up.root / "recipes/toy.yaml"
    text = recipe.read_text()
    assert "max_samples: null" in text
    recipe.write_text(text.replace("max_samples: null", "max_samples: 2000"))
    up.turn("evaluate", "accuracy 0.93")
    tuneline(up, "run", "toy")
    newest = [run for run in runs(up) if run.info.status == "FINISHED"][:2]
    first, second = (run.info.run_id for run in newest)
    experiment = newest[0].info.experiment_id
    address = servers(up).services["MLflow"].page
    chosen = json.dumps([first, second])
    with browser(tmp_path / "profile") as page:
        page.call("Emulation.setDeviceMetricsOverride", width=1400, height=1200,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        page.open(f'{address}/#/compare-runs?runs={chosen}&experiments=["{experiment}"]')
        page.wait("document.body.innerText.includes('base.accuracy')")
        for part in ("Parameters", "Metrics"):
            page.value(
                f"document.querySelector('[aria-label=\"{part} - Show diff only\"]').click()"
            )
        page.value(HEADER)
        page.wait("!document.body.innerText.includes('base.accuracy')")
        shown = page.wait(
            "document.body.innerText.includes('tuned.accuracy') && document.body.innerText"
        )
        assert first in shown
        assert second in shown
        assert re.search(r"evaluation\.max_samples\s+2000\s+None\n", shown)
        assert re.search(r"\b0\.93\s+0\.91\n", shown)
        picture(page, "mlflow-compare", tmp_path)


def test_down_stops_all_even_what_a_dead_worker_left(up: Toy) -> None:
    """The last test of the module: the worker is killed while it runs a stage that sleeps."""
    up.turn("train", "sleep 600")
    up.calls()
    run_deployment(up, "weekly")
    log = up.root / "calls.log"
    wait(lambda: log.exists() and "train" in log.read_text())
    state = servers(up)
    psutil.Process(state.services["worker"].pid).kill()
    stage = [p for p in marked(state.mark) if "line.py" in " ".join(p.cmdline())]
    assert stage, "the stage outlives the worker"

    with subprocess.Popen(["sleep", "600"]) as foreign:
        # as if the id of a dead server had been given to another process since
        state.services["Prefect2"] = Service("Prefect2", foreign.pid, "then", "none")
        write_servers(up.root, state)
        said = tuneline(up, "down")
        assert foreign.poll() is None, "what does not bear the mark is left alone"
        foreign.kill()
    assert re.search(r"worker\s+had died", said)
    assert re.search(r"Prefect\s+stopped", said)
    assert "processes that they had started stopped" in said
    assert marked(state.mark) == []
    assert not any(p.is_running() and p.status() != "zombie" for p in stage)
    assert read_servers(up.root) is None
    env: dict[str, str] = {}
    prepare(up.root, env)
    assert "PREFECT_API_URL" not in env
    assert MARK not in env
    assert tuneline(up, "down") == "nothing was up\n"
