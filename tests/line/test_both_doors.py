"""The real line by its commands: Prefect's door and DVC's, one graph, one cache, the pages."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from project import Project, copy_of_repository

from flows.steps import STEPS

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def by_flow(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_of_repository(tmp_path_factory.mktemp("flow"))
    said = project.tuneline("run", "tiny")
    assert "champion" in said
    return project


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_of_repository(tmp_path_factory.mktemp("dvc"))
    project.dvc("repro")
    return project


def hashes(project: Project) -> dict[str, str]:
    """Return DVC's hash of every artefact."""
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for s in lock["stages"].values() for out in s["outs"]}


def facts(project: Project) -> dict:
    return json.loads(project.tuneline("show", "tiny", "--json"))


def test_both_doors_give_the_same_artefacts(by_flow: Project, by_dvc: Project) -> None:
    assert len(hashes(by_flow)) == len(STEPS)
    assert hashes(by_flow) == hashes(by_dvc)


@pytest.mark.parametrize("door", ["by_flow", "by_dvc"])
def test_after_one_door_the_other_does_nothing(door: str, request: pytest.FixtureRequest) -> None:
    project: Project = request.getfixturevalue(door)
    before = hashes(project)
    assert "nothing has changed" in project.tuneline("run", "tiny")
    assert "Running stage" not in project.dvc("repro")
    assert "up to date" in project.dvc("status")
    assert hashes(project) == before


def test_a_lost_artefact_is_restored_not_rebuilt(by_flow: Project) -> None:
    shutil.rmtree(by_flow.root / "data" / "tiny" / "adapter")
    said = by_flow.tuneline("run", "tiny")
    assert re.search(r"train\s+restored", said), said
    assert (by_flow.root / "data" / "tiny" / "adapter" / "manifest.json").is_file()


def test_facts_name_each_other(by_flow: Project) -> None:
    shown = facts(by_flow)
    assert shown["run"]["mlflow_run_id"]
    assert shown["run"]["prefect_flow_run_id"]
    assert shown["verdict"]["promote"]
    assert str(shown["registration"]["version"]) == "1"
    assert set(shown["models"]) >= {"base", "tuned", "fp32", "int8", "int4"}


def test_champion_answers_in_a_fresh_process(by_flow: Project) -> None:
    store = f"sqlite:///{by_flow.root}/mlflow/mlflow.db"
    code = (
        "import mlflow; m = mlflow.pyfunc.load_model('models:/tiny@champion');"
        "print('ANSWER', m.predict([{'text': 'The lamp was superb :)'}]))"
    )
    said = by_flow.run(sys.executable, "-c", code, MLFLOW_TRACKING_URI=store, PYTHONPATH="")
    answer = next(line for line in said.splitlines() if line.startswith("ANSWER"))
    assert re.search("good|fair|poor", answer)


@dataclass(frozen=True)
class Pages:
    mlflow: str
    prefect: str


@pytest.fixture(scope="module")
def pages(by_flow: Project) -> Iterator[Pages]:
    child = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "ui", "--no-browser"],
        cwd=by_flow.root,
        env=by_flow.env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    found: dict[str, str] = {}
    assert child.stdout is not None
    for line in child.stdout:
        if match := re.match(r"(MLflow|Prefect)\s+(http://\S+)", line):
            found[match[1]] = match[2]
        if "Ctrl-C" in line:
            break
    yield Pages(found["MLflow"], found["Prefect"])
    child.send_signal(signal.SIGINT)
    child.wait(60)


def see(url: str, name: str, folder: Path) -> str:
    """Return the text of a page as a real browser shows it, and take its picture.

    The picture is kept where TUNELINE_PICTURES says, else in `folder`.
    """
    assert CHROMIUM
    picture = Path(os.environ.get("TUNELINE_PICTURES", folder)) / f"{name}.png"
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=30000", "--window-size=1400,1000"]
    dom = subprocess.run(
        [*command, "--dump-dom", url], capture_output=True, text=True, check=True, timeout=180
    ).stdout
    subprocess.run(
        [*command, f"--screenshot={picture}", url], capture_output=True, check=True, timeout=180
    )
    return re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", dom, flags=re.S)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")
def test_browser_shows_the_run_in_mlflow(by_flow: Project, pages: Pages, tmp_path: Path) -> None:
    run = facts(by_flow)["run"]["mlflow_run_id"]
    experiment = by_flow.run(
        sys.executable,
        "-c",
        f"import mlflow; print(mlflow.get_run('{run}').info.experiment_id)",
        MLFLOW_TRACKING_URI=f"sqlite:///{by_flow.root}/mlflow/mlflow.db",
        PYTHONPATH="",
    ).split()[-1]
    text = see(f"{pages.mlflow}/#/experiments/{experiment}/runs/{run}", "mlflow", tmp_path)
    assert run in text
    assert "int8.accuracy" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")
def test_browser_shows_the_flow_run_in_prefect(
    by_flow: Project, pages: Pages, tmp_path: Path
) -> None:
    run = facts(by_flow)["run"]["prefect_flow_run_id"]
    text = see(f"{pages.prefect}/runs/flow-run/{run}", "prefect", tmp_path)
    assert "tiny" in text
    assert "Completed" in text
