"""A line that fails, is cut off or dies: what is whole is kept, and the same run goes on."""

from pathlib import Path
from typing import Any

import pytest
from toy_project import Toy
from toy_runs import mlflow_run, outcomes, record_of, through_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_fault_of_the_data_ends_the_flow_with_its_own_words(toy_here: Toy) -> None:
    toy_here.turn("ingest", "bad data")
    state = through_flow()

    assert state.is_failed()
    assert "ingest: row 3 has no label\n  → give it one" in state.message
    assert toy_here.calls().count("ingest") == 1  # `retries: 2` is for faults that may pass
    assert not (toy_here.root / "data/toy/adapter").exists()
    record = record_of(toy_here)
    assert record.status == "failed"
    assert mlflow_run(record.mlflow_run_id).info.status == "FAILED"


def test_what_was_whole_is_kept_when_the_line_goes_on(toy_here: Toy) -> None:
    toy_here.turn("train", "bad data")
    assert through_flow().is_failed()
    before = record_of(toy_here)
    toy_here.turn("train", "well")
    toy_here.calls()
    state = through_flow()

    assert state.is_completed(), state.message
    assert "ingest" not in toy_here.calls()
    after = record_of(toy_here)
    assert after.mlflow_run_id == before.mlflow_run_id, "another flow run goes on with it"
    assert after.earlier_flow_run_ids == [before.prefect_flow_run_id]
    assert outcomes(toy_here)["ingest"] == "ran"
    run = mlflow_run(after.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["prefect.earlier_flow_run_ids"] == before.prefect_flow_run_id


def test_other_data_begin_another_run(toy_here: Toy) -> None:
    toy_here.turn("train", "bad data")
    assert through_flow().is_failed()
    before = record_of(toy_here)
    toy_here.turn("ingest", "otherwise")
    assert through_flow().is_failed()
    after = record_of(toy_here)
    assert after.mlflow_run_id != before.mlflow_run_id
    assert after.earlier_flow_run_ids == []


def test_what_died_on_another_recipe_is_closed(toy_here: Toy) -> None:
    """Nobody may come back for it: it would say Running for ever."""
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from flows.finetune import finetune
    from flows.left_over import close_dead
    from flows.record import open_flow_record
    from flows.store import client

    with get_client(sync_client=True) as prefect:
        dead = prefect.create_flow_run(finetune, parameters={"recipe": "other"}, state=Running())
    experiment = client().create_experiment("other")
    run = client().create_run(experiment).info.run_id
    with open_flow_record(toy_here.root, "other", str(dead.id)) as record:
        record.mlflow_run_id = run
    told: list[str] = []
    close_dead(toy_here.root, "toy", told.append)
    assert told == ["the run of other has died: closed"]
    assert mlflow_run(run).info.status == "KILLED"
    with get_client(sync_client=True) as prefect:
        state = prefect.read_flow_run(dead.id).state
    assert state is not None
    assert state.is_crashed()
    close_dead(toy_here.root, "toy", told.append)
    assert len(told) == 1


def test_a_server_watches_the_heartbeats() -> None:
    from prefect.client.orchestration import get_client

    from flows.heartbeat import NAME, SILENT_S, watch_heartbeats

    with get_client(sync_client=True) as client:
        for _ in range(2):
            watch_heartbeats(client)
        (found,) = client.read_automations_by_name(NAME)
    assert found.trigger.within.total_seconds() == SILENT_S  # type: ignore[union-attr]


def test_an_unreachable_source_is_tried_again(toy_here: Toy) -> None:
    toy_here.turn("ingest", "unreachable once")
    state = through_flow()

    assert state.is_completed(), state.message
    assert toy_here.calls().count("ingest") == 2
    assert record_of(toy_here).faults == {}


def test_a_stage_that_takes_too_long_is_stopped(toy_here: Toy) -> None:
    graph = toy_here.root / "dvc.yaml"
    text = graph.read_text(encoding="utf-8")
    graph.write_text(text.replace("timeout_s: 30", "timeout_s: 3"), encoding="utf-8")
    toy_here.turn("ingest", "sleep 60")
    state = through_flow()

    assert state.is_failed()
    assert "stopped after 3 s" in state.message


def test_a_crashed_repro_goes_on_in_the_same_run(toy_here: Toy) -> None:
    toy_here.turn("train", "curve")
    toy_here.turn("evaluate", "bad data")
    assert toy_here.dvc("repro").returncode != 0
    record = record_of(toy_here)
    assert record.status == "failed"
    begun = record.mlflow_run_id
    assert begun is not None  # train has a live curve
    toy_here.turn("evaluate", "well")
    done = toy_here.dvc("repro")

    assert done.returncode == 0, done.stderr
    record = record_of(toy_here)
    assert record.mlflow_run_id == begun
    assert (record.status, record.faults) == ("finished", {})
    assert set(outcomes(toy_here).values()) == {"ran"}
    run = mlflow_run(begun)
    assert run.info.status == "FINISHED"
    assert run.data.tags["stage.train"] == "ran"
    assert run.data.tags["stage.register"] == "ran"


def test_a_crashed_repro_goes_on_in_a_flow(toy_here: Toy) -> None:
    toy_here.turn("train", "curve")
    toy_here.turn("evaluate", "bad data")
    assert toy_here.dvc("repro").returncode != 0
    begun = record_of(toy_here).mlflow_run_id
    toy_here.turn("evaluate", "well")
    state = through_flow()

    assert state.is_completed(), state.message
    record = record_of(toy_here)
    assert record.mlflow_run_id == begun
    assert record.door == "prefect"
    assert set(outcomes(toy_here).values()) == {"ran"}


def test_a_retried_flow_run_goes_on_in_the_same_mlflow_run(toy_here: Toy) -> None:
    from flows.finetune import finetune

    toy_here.turn("evaluate", "bad data once")
    state = finetune.with_options(retries=1)("toy", return_state=True)

    assert state.is_completed(), state.message
    record = record_of(toy_here)
    from flows.store import client

    experiment = client().get_experiment_by_name("toy")
    runs = client().search_runs([experiment.experiment_id])
    assert [run.info.run_id for run in runs] == [record.mlflow_run_id]
    assert outcomes(toy_here)["ingest"] == "ran"


def test_no_child_outlives_the_flow(toy_here: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    from flows import child

    monkeypatch.setattr(child, "run_lines", _interrupted(child.run_lines))
    toy_here.turn("ingest", "sleep 60")
    toy_here.turn("fetch", "sleep 60")
    state = through_flow()

    assert not state.is_completed()
    mine = psutil.Process().children(recursive=True)
    assert not [p for p in mine if "line.py" in " ".join(p.cmdline())]


def _interrupted(run_lines: Any) -> Any:
    """Stop all stages after some seconds, as an operator would."""

    def stopped(command: Any, root: Path, env: Any, timeout_s: Any, tell: Any) -> Any:
        import threading

        from flows import child

        timer = threading.Timer(4, child.stop_all)
        timer.start()
        try:
            return run_lines(command, root, env, timeout_s, tell)
        finally:
            timer.cancel()

    return stopped
