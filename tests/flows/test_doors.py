"""Two doors, one graph, one cache, one run: what goes through one door is done for the other."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_project import STAGES, Toy
from toy_runs import manifests, mlflow_run, mlflow_runs, outcomes, record_of, through_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


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
