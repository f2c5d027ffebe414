"""Servers and workers that go away: MLflow, Prefect, PostgreSQL, the artefact store, a worker."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from drilled import (
    PATIENCE_S,
    REPOSITORY,
    Drilled,
    kill,
    need_no_step_again,
    need_once,
    need_same,
    wait_for,
)
from servers import PREFECT, MlflowServer, PrefectServer

from flows.ui import free_port

pytestmark = pytest.mark.drill

State = dict[str, Any]
DEPLOYMENT = """
name: drilled
pull:
  - prefect.deployments.steps.set_working_directory: {{directory: "{root}"}}
deployments:
  - name: line
    entrypoint: {entrypoint}
    parameters: {{recipe: toy}}
    work_pool: {{name: {pool}}}
"""


@pytest.fixture
def mlflow_server(drilled: Drilled) -> Iterator[MlflowServer]:
    server = MlflowServer(drilled)
    server.start()
    drilled.extra["MLFLOW_TRACKING_URI"] = server.address
    yield server
    server.kill()


def test_mlflow_is_away_for_a_minute(
    drilled: Drilled, mlflow_server: MlflowServer, untouched: State
) -> None:
    """The training goes on; what it told meanwhile arrives afterwards, once."""
    drilled.knob("pace").write_text("0.2")
    drilled.halt("train", "20")
    line = drilled.start()
    drilled.wait_here("train", line)
    mlflow_server.kill()
    gone = time.monotonic()
    drilled.go_on("train")
    wait_for(lambda: drilled.logged("steps")[-1] == "60", "the training stands still", line)
    time.sleep(max(0.0, 60 - (time.monotonic() - gone)))
    mlflow_server.start()
    assert line.wait(PATIENCE_S) == 0
    need_same(drilled, untouched)
    need_once(drilled)
    need_no_step_again(drilled, before=60)


def test_mlflow_is_away_and_the_training_is_killed(
    drilled: Drilled, mlflow_server: MlflowServer, untouched: State
) -> None:
    """Points that were told before the kill and never sent are not lost."""
    drilled.halt("train", "20")
    line = drilled.start()
    drilled.wait_here("train", line)
    mlflow_server.kill()
    drilled.halt("train", "45")
    wait_for(drilled.knob("train.here").exists, "no step 45", line)
    kill(line.pid)
    line.wait(PATIENCE_S)
    drilled.wait_until_gone()
    drilled.go_on("train")
    mlflow_server.start()
    drilled.finish()
    need_same(drilled, untouched)
    need_no_step_again(drilled, before=40)


def test_the_artefact_store_is_away_at_registration(drilled: Drilled, untouched: State) -> None:
    drilled.halt("register", "begin")
    line = drilled.start()
    drilled.wait_here("register", line)
    store, away = drilled.root / "mlflow/artifacts", drilled.root / "mlflow/away"
    if store.exists():
        store.rename(away)
    store.write_text("not a folder")
    drilled.go_on("register")
    assert line.wait(PATIENCE_S) == 1
    store.unlink()
    if away.exists():
        away.rename(store)
    drilled.finish()
    need_same(drilled, untouched)
    need_once(drilled)


def test_the_prefect_server_is_restarted(
    drilled: Drilled, untouched: State, tmp_path: Path
) -> None:
    (tmp_path / "prefect").mkdir()
    server = PrefectServer(tmp_path / "prefect", free_port(0))
    with server as api:
        drilled.extra["PREFECT_API_URL"] = api
        drilled.halt("train", "35")
        line = drilled.start()
        drilled.wait_here("train", line)
        server.kill()
        drilled.go_on("train")
        wait_for(lambda: "train" in drilled.logged("made"), "the training stands still", line)
        time.sleep(5)
        server.start()
        assert line.wait(PATIENCE_S) == 0, (drilled.root / ".tuneline/started.log").read_text()
        need_same(drilled, untouched)
        need_once(drilled)
        need_no_step_again(drilled, before=60)


# workers


@contextmanager
def worker(drilled: Drilled, pool: str, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    log = (drilled.root / ".tuneline" / f"{name}.log").open("ab")
    env = drilled.env | {"PREFECT_WORKER_QUERY_SECONDS": "2"}
    words = (*PREFECT, "worker", "start", "--pool", pool, "--name", name, "--type", "process")
    child = subprocess.Popen(
        words, cwd=drilled.root, env=env, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield child
    finally:
        with_below = [child.pid]
        if child.poll() is None:
            below = psutil.Process(child.pid).children(recursive=True)
            with_below += [process.pid for process in below]
        kill(*with_below)
        child.wait(30)


def deploy(drilled: Drilled, pool: str) -> None:
    text = DEPLOYMENT.format(
        root=drilled.root, entrypoint=REPOSITORY / "flows/finetune.py:finetune", pool=pool
    )
    (drilled.root / "prefect.yaml").write_text(text, encoding="utf-8")
    for words in (
        ("work-pool", "create", pool, "--type", "process"),
        ("--no-prompt", "deploy", "--all"),
    ):
        done = drilled.run(*PREFECT, *words)
        assert done.returncode == 0, done.stdout + done.stderr


def start_run(drilled: Drilled) -> str:
    """Have the deployment run once; return the flow run's id."""
    code = (
        "import json; from prefect.deployments import run_deployment; "
        "print(json.dumps(str(run_deployment('finetune/line', timeout=0).id)))"
    )
    return str(drilled.ask(code))


def state_of(drilled: Drilled, flow_run: str) -> str:
    code = (
        "import json; from uuid import UUID; "
        "from prefect.client.orchestration import get_client; c = get_client(sync_client=True); "
        f"print(json.dumps(c.read_flow_run(UUID('{flow_run}')).state.type.value))"
    )
    return str(drilled.ask(code))


def test_the_worker_and_its_flow_are_killed(
    drilled: Drilled, untouched: State, tmp_path: Path
) -> None:
    """A new worker and `flow-run retry`: the same flow run, the same MLflow run."""
    pool = f"pool-{tmp_path.name}"[:40]
    deploy(drilled, pool)
    drilled.halt("train", "35")
    with worker(drilled, pool, "first") as first:
        flow_run = start_run(drilled)
        drilled.wait_here("train", first)
        kill(
            first.pid,
            *(
                p.pid
                for p in psutil.Process(first.pid).children(recursive=True)
                if "line.py" not in " ".join(p.cmdline())
            ),
        )
    drilled.go_on("train")  # the stage was told by the kernel that DVC is gone: it ends by itself
    drilled.wait_until_gone()
    retried = drilled.run(*PREFECT, "flow-run", "retry", flow_run)
    if retried.returncode:  # nobody has told the server yet that it has died
        assert (
            "terminal" in (retried.stdout + retried.stderr).lower()
            or "state" in (retried.stdout + retried.stderr).lower()
        ), retried.stdout + retried.stderr
        drilled.finish()
    else:
        with worker(drilled, pool, "second") as second:
            wait_for(
                lambda: state_of(drilled, flow_run) in ("COMPLETED", "FAILED", "CRASHED"),
                "the retried run does not end",
                second,
            )
    need_same(drilled, untouched)
    need_once(drilled)
    need_no_step_again(drilled, before=30)


def test_two_workers_on_one_deployment(drilled: Drilled, untouched: State, tmp_path: Path) -> None:
    """Two ticks at once, each taken by a worker: the second waits and finds all done."""
    pool = f"pool-{tmp_path.name}"[:40]
    deploy(drilled, pool)
    with worker(drilled, pool, "one"), worker(drilled, pool, "other"):
        runs = [start_run(drilled), start_run(drilled)]
        wait_for(
            lambda: all(
                state_of(drilled, run) in ("COMPLETED", "FAILED", "CRASHED") for run in runs
            ),
            "the two runs do not end",
        )
        assert [state_of(drilled, run) for run in runs] == ["COMPLETED", "COMPLETED"]
    state = drilled.state()
    for same in ("artefacts", "dvc", "versions", "aliases", "moves", "open", "ended"):
        assert state[same] == untouched[same], same
    assert state["runs"] == [["FINISHED", 1]], "the second had no news for MLflow"
    assert sorted(drilled.logged("made")) == sorted(set(drilled.logged("made"))), "made twice"
    assert len(drilled.logged("steps")) == 60


def test_a_dead_flow_gives_the_gpu_back(drilled: Drilled, untouched: State) -> None:
    """It held the GPU slot when it was killed: the next run gets it when the lease has ended."""
    made = drilled.run(*PREFECT, "gcl", "create", "gpu", "--limit", "1")
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        drilled.halt("train", "35")
        line = drilled.start()
        drilled.wait_here("train", line)
        kill(line.pid)
        line.wait(PATIENCE_S)
        drilled.wait_until_gone()
        drilled.go_on("train")
        drilled.finish()
        need_same(drilled, untouched)
        need_no_step_again(drilled, before=30)
    finally:
        drilled.run(*PREFECT, "gcl", "delete", "gpu")


def test_postgresql_is_restarted(drilled: Drilled, untouched: State, tmp_path: Path) -> None:
    """Under Prefect and under MLflow, without a word, in the middle of training."""
    postgres = pytest.importorskip("postgres", reason="the tests' PostgreSQL server is not there")
    psycopg2 = pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install '.[postgres]')")
    (tmp_path / "prefect").mkdir()
    with postgres.postgres_server("prefect", "mlflow") as address:
        database = f"postgresql+asyncpg://line@{address}/prefect"
        server = PrefectServer(
            tmp_path / "prefect", free_port(0), PREFECT_API_DATABASE_CONNECTION_URL=database
        )
        with server as api:
            drilled.extra |= {
                "PREFECT_API_URL": api,
                "MLFLOW_TRACKING_URI": f"postgresql://line@{address}/mlflow",
            }
            drilled.halt("train", "35")
            line = drilled.start()
            drilled.wait_here("train", line)
            restart(postgres, psycopg2, address)
            drilled.go_on("train")
            assert line.wait(PATIENCE_S) == 0, (drilled.root / ".tuneline/started.log").read_text()
            need_same(drilled, untouched)
            need_once(drilled)


def restart(postgres: Any, psycopg2: Any, address: str) -> None:
    connection = psycopg2.connect(f"postgresql://line@{address}/postgres")
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        (folder,) = cursor.fetchone()
    connection.close()

    who = {"user": postgres.UNPRIVILEGED} if os.geteuid() == 0 else {}
    words = [postgres.binary("pg_ctl"), "-D", folder, "-m", "immediate", "-w", "restart"]
    subprocess.run(
        words, cwd=folder, check=True, timeout=120, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, **who,
    )  # fmt: skip
