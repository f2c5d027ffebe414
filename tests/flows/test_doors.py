"""Two doors, one graph, one cache, one run: what goes through one door is done for the other."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_project import STAGES, Toy

from flows.record import RunRecord, read_record

pytestmark = pytest.mark.usefixtures("prefect_server")


def through_flow(**given: Any) -> Any:
    from flows.finetune import finetune

    return finetune("toy", return_state=True, **given)


def record_of(toy: Toy) -> RunRecord:
    record = read_record(toy.root, "toy")
    assert record is not None
    return record


def outcomes(toy: Toy) -> dict[str, str]:
    return {name: stage.outcome for name, stage in record_of(toy).stages.items()}


def manifests(toy: Toy) -> dict[str, str]:
    files = sorted((toy.root / "data" / "toy").glob("*/manifest.json"))
    return {file.parent.name: file.read_text(encoding="utf-8") for file in files}


def mlflow_run(run: str | None) -> Any:
    from flows.store import client

    assert run is not None
    return client().get_run(run)


@pytest.fixture(scope="module")
def flowed(
    toy_template: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: None
) -> Iterator[Toy]:
    """A project that one flow run went through, for tests that only look."""
    root = tmp_path_factory.mktemp("flowed") / "toy"
    shutil.copytree(toy_template, root)
    toy = Toy(root)
    toy.turn("train", "curve")
    with pytest.MonkeyPatch.context() as monkeypatch:
        toy.enter(monkeypatch)
        state = through_flow()
        assert state.is_completed(), state.message
        yield toy


def test_after_the_flow_dvc_has_nothing_to_do(flowed: Toy) -> None:
    assert set(flowed.calls()) == set(STAGES)
    assert "Data and pipelines are up to date" in flowed.dvc("status").stdout
    done = flowed.dvc("repro")
    assert done.returncode == 0, done.stderr
    assert flowed.calls() == []


def test_one_flow_run_one_mlflow_run_one_set_of_hashes(flowed: Toy) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter

    record = record_of(flowed)
    run = mlflow_run(record.mlflow_run_id)
    assert record.status == "finished"
    assert run.info.status == "FINISHED"
    assert run.data.tags["prefect.flow_run_id"] == record.prefect_flow_run_id
    assert run.data.tags["recipe"] == "toy"
    assert run.data.tags["git.commit"] == record.git.commit
    assert run.data.params["training.lora_r"] == "16"
    assert run.data.metrics["tuned.accuracy"] == 0.9
    assert run.data.metrics["int8.perplexity"] == 9.0
    assert run.data.tags["dvc.adapter"].endswith(".dir")
    hashes = {data.dataset.name: data.dataset.digest for data in run.inputs.dataset_inputs}
    assert hashes["toy/raw"] == run.data.tags["dvc.raw"].removesuffix(".dir")
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(record.prefect_flow_run_id)
        states = {
            task.name: task.state_name
            for task in client.read_task_runs()
            if task.flow_run_id == flow_run.id
        }
        (page,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id={"any_": [flow_run.id]})
        )
    assert {f"mlflow:{record.mlflow_run_id}", f"git:{record.git.commit}"} <= set(flow_run.tags)
    told = {row["artefact"]: row["dvc"] for row in json.loads(str(page.data))}
    assert told["adapter"] == run.data.tags["dvc.adapter"]
    assert states == dict.fromkeys(STAGES, "Ran")


def test_the_live_curve_has_its_own_points_only(flowed: Toy) -> None:
    from flows.store import client

    history = client().get_metric_history(record_of(flowed).mlflow_run_id, "loss")
    assert [(point.step, round(point.value, 3)) for point in history] == [
        (1, 1.0),
        (2, 0.5),
        (3, 0.333),
    ]


def test_the_json_of_the_line_is_whole_after_a_run(flowed: Toy) -> None:
    done = flowed.run("python", "-m", "flows.cli", "show", "toy", "--json")

    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["models"]["int8"]["accuracy"] == 0.9
    assert facts["verdict"]["promote"] is True
    assert facts["run"]["mlflow_run_id"] == record_of(flowed).mlflow_run_id
    assert facts["artefacts"]["adapter"]["dvc_md5"].endswith(".dir")


def test_both_doors_make_the_same_bytes(flowed: Toy, made: Toy) -> None:
    assert manifests(flowed) == manifests(made)
    assert set(manifests(made)) > {"adapter", "registration", "verdict"}


def mlflow_runs() -> list[str]:
    from flows.store import client

    experiment = client().get_experiment_by_name("toy")
    return [run.info.run_id for run in client().search_runs([experiment.experiment_id])]


def test_after_dvc_the_flow_has_nothing_to_do(made_here: Toy) -> None:
    """It opens no run of its own, and names the one that made what is there."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter

    dvc_run, runs = record_of(made_here).mlflow_run_id, mlflow_runs()
    before, last = manifests(made_here), record_of(made_here)

    state = through_flow()

    assert state.is_completed(), state.message
    assert state.message == f"nothing has changed since MLflow run {dvc_run}"
    assert made_here.calls() == []
    assert manifests(made_here) == before
    assert record_of(made_here) == last
    assert mlflow_runs() == runs
    mine = [state.state_details.flow_run_id]
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(mine[0])
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": mine}))
        (page,) = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id={"any_": mine}))
    assert {f"mlflow:{dvc_run}", f"git:{last.git.commit}"} <= set(flow_run.tags)
    assert {task.name: task.state_name for task in tasks} == dict.fromkeys(STAGES, "Skipped")
    rows = json.loads(str(page.data))
    assert {row["outcome"] for row in rows} == {"cached"}
    assert {row["made by"] for row in rows} == {dvc_run}


def test_a_line_whose_run_is_not_known_gets_one(made_here: Toy) -> None:
    from flows.record import record_file

    record_file(made_here.root, "toy").unlink()

    state = through_flow()

    assert state.is_completed(), state.message
    assert made_here.calls() == []
    assert set(outcomes(made_here).values()) == {"cached"}
    assert mlflow_run(record_of(made_here).mlflow_run_id).data.tags["stage.train"] == "cached"


def test_a_change_runs_what_it_touches_and_going_back_is_restored(made_here: Toy) -> None:
    dvc_run = record_of(made_here).mlflow_run_id
    made_here.turn("evaluate", "otherwise")
    state = through_flow()

    assert state.is_completed(), state.message
    assert made_here.calls() == ["evaluate", "gate"]
    assert outcomes(made_here)["evaluate"] == "ran"
    record = record_of(made_here)
    assert record.mlflow_run_id != dvc_run
    tags = mlflow_run(record.mlflow_run_id).data.tags
    assert (tags["stage.evaluate"], tags["stage.train"]) == ("ran", "cached")
    assert tags["stage.train.made_by"] == dvc_run
    # The verdict came out the same, so DVC sees nothing to register again.
    assert outcomes(made_here)["register"] == "cached"

    made_here.turn("evaluate", "well")
    state = through_flow()

    assert state.is_completed(), state.message
    assert made_here.calls() == []
    assert outcomes(made_here)["evaluate"] == "restored"


def test_force_runs_an_unchanged_stage(made_here: Toy) -> None:
    through_flow(force=["evaluate"])

    assert made_here.calls() == ["evaluate"]
    assert outcomes(made_here)["evaluate"] == "ran"


def test_a_new_repro_after_a_finished_one_begins_a_new_run(made_here: Toy) -> None:
    first = record_of(made_here)
    made_here.turn("register", "otherwise")
    done = made_here.dvc("repro")

    assert done.returncode == 0, done.stderr
    second = record_of(made_here)
    assert second.mlflow_run_id != first.mlflow_run_id
    assert outcomes(made_here) == {**dict.fromkeys(STAGES, "cached"), "register": "ran"}
    assert second.stages["train"].made_by == first.mlflow_run_id


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
