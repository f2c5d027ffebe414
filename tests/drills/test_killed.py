"""SIGKILL in every step, of every process: the next start goes on, and repeats nothing finished."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from drilled import (
    PATIENCE_S,
    STAGES,
    Drilled,
    kill,
    need_no_step_again,
    need_once,
    need_same,
    wait_for,
)

pytestmark = pytest.mark.drill

State = dict[str, Any]

RETRY = """
from uuid import UUID
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from flows.finetune import finetune

client, number = get_client(sync_client=True), UUID("{flow_run}")
client.set_flow_run_state(number, Scheduled(name="AwaitingRetry"), force=True)
run, given = client.read_flow_run(number), {{"recipe": "toy"}}
print(run_flow(finetune, flow_run=run, parameters=given, return_type="state").type.value)
"""
"""What `prefect flow-run retry` has a worker do."""


def ended(drilled: Drilled, line: "subprocess.Popen[str]") -> None:
    """Wait until a killed line and all that it had started is gone."""
    line.wait(PATIENCE_S)
    drilled.wait_until_gone()


@pytest.mark.parametrize("stage", STAGES)
def test_the_flow_is_killed_in(stage: str, drilled: Drilled, untouched: State) -> None:
    drilled.halt(stage, "begin")
    line = drilled.start()
    drilled.wait_here(stage, line)
    kill(line.pid)
    ended(drilled, line)
    drilled.go_on(stage)
    drilled.finish()
    need_same(drilled, untouched)
    need_once(drilled)


@pytest.mark.slow
def test_the_flow_is_killed_in_the_middle_of_training(drilled: Drilled, untouched: State) -> None:
    drilled.halt("train", "35")
    line = drilled.start()
    drilled.wait_here("train", line)
    kill(line.pid)
    ended(drilled, line)
    drilled.go_on("train")
    drilled.finish()
    need_same(drilled, untouched)
    need_no_step_again(drilled, before=30)


def test_the_stage_is_killed_in_the_middle_of_training(drilled: Drilled, untouched: State) -> None:
    drilled.halt("train", "35")
    line = drilled.start()
    kill(drilled.wait_here("train", line))
    assert line.wait(PATIENCE_S) == 1, "the flow tells that the stage has ended"
    drilled.go_on("train")
    drilled.finish()
    need_same(drilled, untouched)
    need_no_step_again(drilled, before=30)


def test_dvc_is_killed_above_a_stage(drilled: Drilled, untouched: State) -> None:
    drilled.halt("train", "35")
    line = drilled.start()
    stage = psutil.Process(drilled.wait_here("train", line))
    above = stage.parent()
    assert above is not None
    assert "dvc" in above.cmdline()
    kill(above.pid)
    assert line.wait(PATIENCE_S) == 1
    assert not stage.is_running(), "the stage has outlived DVC"
    drilled.go_on("train")
    drilled.finish()
    need_same(drilled, untouched)


def test_killed_between_the_artefact_and_its_lock(drilled: Drilled, untouched: State) -> None:
    drilled.halt("train", "left")
    line = drilled.start()
    drilled.wait_here("train", line)
    kill(line.pid)
    ended(drilled, line)
    drilled.go_on("train")
    drilled.finish()
    need_same(drilled, untouched)
    need_once(drilled)
    need_no_step_again(drilled, before=60)


@pytest.mark.parametrize("place", ["versioned", "alone"])
def test_killed_while_registering(place: str, drilled: Drilled, untouched: State) -> None:
    drilled.halt("register", place)
    line = drilled.start()
    stage = drilled.wait_here("register", line)
    kill(stage, line.pid)
    ended(drilled, line)
    drilled.go_on("register")
    drilled.finish()
    need_same(drilled, untouched)


def test_the_machine_stops_and_starts_again(drilled: Drilled, untouched: State) -> None:
    """All processes at once, half a lock file, and their numbers given to others."""
    drilled.halt("train", "35")
    line = drilled.start()
    drilled.wait_here("train", line)
    kill(*(process.pid for process in drilled.processes()))
    line.wait(PATIENCE_S)
    drilled.go_on("train")
    lock = drilled.root / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:-40])
    with subprocess.Popen(["sleep", "600"]) as stranger:
        busy = drilled.root / ".dvc" / "tmp" / "rwlock"
        entry = {"pid": stranger.pid, "cmd": "/x/dvc --wait-for-lock repro train@toy"}
        held = {str(drilled.root / "data/toy/adapter"): entry}
        busy.write_text(json.dumps({"write": held, "read": {}}), encoding="utf-8")
        drilled.finish()
        stranger.kill()
    need_same(drilled, untouched)
    need_once(drilled)
    need_no_step_again(drilled, before=30)


def test_killed_before_the_run_is_written_down(drilled: Drilled, untouched: State) -> None:
    """MLflow has the run, and its id has not come to the record: it is found, not doubled."""
    drilled.halt("ingest", "begin")
    line = drilled.start()
    drilled.wait_here("ingest", line)
    kill(line.pid)
    ended(drilled, line)
    drilled.go_on("ingest")
    file = drilled.root / ".tuneline" / "runs" / "toy.json"
    record = json.loads(file.read_text())
    assert record["mlflow_run_id"]
    file.write_text(json.dumps(record | {"mlflow_run_id": None}))
    drilled.finish()
    need_same(drilled, untouched)


@pytest.mark.slow
def test_a_spot_machine_says_that_it_goes(drilled: Drilled, untouched: State) -> None:
    """SIGTERM to every process: a checkpoint of the step that was trained, within `grace_s`."""
    drilled.knob("pace").write_text("0.05")
    drilled.halt("train", "35")
    line = drilled.start()
    drilled.wait_here("train", line)
    for process in drilled.processes():
        process.send_signal(signal.SIGTERM)
    drilled.go_on("train")
    line.wait(PATIENCE_S)
    drilled.wait_until_gone()
    reached = int(drilled.logged("steps")[-1])
    drilled.finish()
    need_same(drilled, untouched)
    need_no_step_again(drilled, before=reached)


def test_sigterm_to_the_flow_alone(drilled: Drilled, untouched: State) -> None:
    drilled.knob("pace").write_text("0.05")
    drilled.halt("train", "35")
    line = drilled.start()
    drilled.wait_here("train", line)
    drilled.go_on("train")
    line.send_signal(signal.SIGTERM)
    line.wait(PATIENCE_S)
    drilled.wait_until_gone()
    reached = int(drilled.logged("steps")[-1])
    assert reached < 60, "the training was not asked to end"
    drilled.finish()
    need_same(drilled, untouched)
    need_no_step_again(drilled, before=reached)


def test_retried_by_prefect(drilled: Drilled, untouched: State, tmp_path: Path) -> None:
    """`prefect flow-run retry` of a run that was killed: the same MLflow run, the same flow run."""
    drilled.halt("train", "35")
    line = drilled.start()
    drilled.wait_here("train", line)
    kill(line.pid)
    ended(drilled, line)
    drilled.go_on("train")
    file = drilled.root / ".tuneline" / "runs" / "toy.json"
    flow_run = json.loads(file.read_text())["prefect_flow_run_id"]
    again = RETRY.format(flow_run=flow_run)
    done = drilled.run(sys.executable, "-c", again)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "COMPLETED"
    need_same(drilled, untouched)
    assert json.loads(file.read_text())["earlier_flow_run_ids"] == []
    need_no_step_again(drilled, before=30)


def test_what_the_dvc_door_leaves(drilled: Drilled, untouched: State) -> None:
    """`dvc repro` killed: its stage ends too, and a flow goes on with its run."""
    drilled.halt("train", "35")
    line = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=drilled.root, env=drilled.env, text=True
    )
    stage = drilled.wait_here("train", line)
    kill(line.pid)
    line.wait(PATIENCE_S)
    os.kill(stage, signal.SIGKILL) if sys.platform == "darwin" else None
    drilled.go_on("train")
    wait_for(lambda: not psutil.pid_exists(stage), "the stage has outlived DVC")
    drilled.finish()
    need_same(drilled, untouched)
