"""What reaches MLflow, and what happens when it does not."""

from collections.abc import Mapping

import pytest
from toy_project import Toy

from components.contracts.events import Heard
from components.contracts.kinds import Dataset
from flows import live
from flows.live import LiveCurve
from flows.recipe import load_recipe
from flows.record import RunRecord, StageRecord, open_record, record_file


def opened(toy: Toy) -> str:
    from flows.tracking import run_of_dvc

    return run_of_dvc(toy.root, "toy")


def losses(run: str) -> list[tuple[int, float]]:
    from flows.store import client

    return [(point.step, point.value) for point in client().get_metric_history(run, "loss")]


def test_the_curve_goes_out_in_bundles(toy_here: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import tracking

    sizes = []

    def log_curve(run: str, points: list[tuple[int, Mapping[str, float], int]]) -> None:
        sizes.append(len(points))

    monkeypatch.setattr(tracking, "log_curve", log_curve)
    with LiveCurve(toy_here.root, "toy", opened(toy_here), Heard()) as curve:
        for step in range(1, 121):
            curve.metrics(step, {"loss": 1.0})

    assert sizes == [live.EVERY_STEPS, live.EVERY_STEPS, 20]


def test_a_resumed_training_logs_no_step_twice(toy_here: Toy) -> None:
    run = opened(toy_here)
    for steps in (range(1, 5), range(3, 8)):  # the second attempt goes on from a checkpoint
        with LiveCurve(toy_here.root, "toy", run, Heard()) as curve:
            for step in steps:
                curve.metrics(step, {"loss": float(step), "learning_rate": 0.1})

    assert losses(run) == [(step, float(step)) for step in range(1, 8)]


def test_a_tracker_that_is_away_holds_nothing_up_and_loses_nothing(
    toy_here: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    from flows import tracking

    monkeypatch.setattr(live, "LAST_S", 0.0)
    monkeypatch.setattr(live, "AGAIN_S", 0.1)
    run, real = opened(toy_here), tracking.log_curve

    def away(*_: object) -> None:
        raise MlflowException("API request to http://x/ failed with exception refused")

    monkeypatch.setattr(tracking, "log_curve", away)
    heard = Heard()
    with LiveCurve(toy_here.root, "toy", run, heard) as curve:
        for step in range(1, 121):
            curve.metrics(step, {"loss": float(step)})
    assert [note.partition(";")[0] for note in heard.notes] == ["MLflow does not answer"]
    assert losses(run) == []

    monkeypatch.setattr(tracking, "log_curve", real)
    live.send_rest(toy_here.root, "toy", run)
    assert losses(run) == [(step, float(step)) for step in range(1, 121)]


def test_a_stage_that_is_entered_twice_has_each_number_once(toy_here: Toy) -> None:
    from flows.store import client
    from flows.tracking import record_stage

    with Dataset.write(toy_here.root / "data/toy/dataset") as draft:
        draft.facts = {"rows": {"kept": 3}}
    run = opened(toy_here)
    for _ in range(2):
        record_stage(
            toy_here.root, run, "toy", "validate", StageRecord(outcome="ran", seconds=4.0), "0" * 32
        )
    for name in ("validate.rows.kept", "validate.seconds"):
        assert len(client().get_metric_history(run, name)) == 1


def test_a_run_whose_id_was_lost_is_found_again(toy_here: Toy) -> None:
    """Killed between MLflow's answer and the record: the run bears the record's ticket."""
    run = opened(toy_here)
    with open_record(toy_here.root, "toy", "dvc") as record:
        record.mlflow_run_id = None
    assert opened(toy_here) == run


def test_what_is_not_finite_is_left_out(toy_here: Toy) -> None:
    run = opened(toy_here)
    with LiveCurve(toy_here.root, "toy", run, Heard()) as curve:
        curve.metrics(1, {"loss": float("nan")})
        curve.metrics(2, {"loss": 0.5})

    assert losses(run) == [(2, 0.5)]


def test_a_tracker_that_fails_is_told_once_and_stops_nothing(toy_here: Toy) -> None:
    heard = Heard()
    with LiveCurve(toy_here.root, "toy", "no such run", heard) as curve:
        for step in range(1, 121):
            curve.metrics(step, {"loss": 1.0})

    assert len(heard.notes) == 1
    assert heard.notes[0].startswith("the live curve is not recorded")


def test_no_metric_loads_no_tracker(toy_here: Toy) -> None:
    with LiveCurve(toy_here.root, "toy", "no such run", Heard()) as curve:
        curve.progress("validate", 1, 2)
        curve.note("hello")

    assert curve._thread is None


def test_changed_settings_begin_a_new_run(toy_here: Toy) -> None:
    """MLflow's parameters cannot change, so a run that says otherwise is not continued."""
    from flows.tracking import open_run

    first = opened(toy_here)
    assert opened(toy_here) == first
    recipe = load_recipe(toy_here.root, "toy")
    other = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"alpha": 0.5})})
    with open_record(toy_here.root, "toy", "dvc") as record:
        assert open_run(toy_here.root, record, other) != first


def test_artefacts_go_below_the_project(toy_here: Toy) -> None:
    from flows.store import client

    run = client().get_run(opened(toy_here))
    assert run.info.artifact_uri.startswith((toy_here.root / "mlflow/artifacts/toy").as_uri())


def test_the_pages_on_the_data_and_its_counts_reach_the_run(toy_here: Toy) -> None:
    from flows.store import client
    from flows.tracking import record_stage

    with Dataset.write(toy_here.root / "data/toy/dataset") as draft:
        (draft.folder / "docs").mkdir()
        for name in ("index", "rows"):
            (draft.folder / f"docs/{name}.html").write_text("<p>4 rows in</p>", encoding="utf-8")
        draft.facts = {"rows": {"in": 4, "kept": 3, "quarantined": 1}, "quarantined": {"html": 1}}
    run = opened(toy_here)
    record_stage(toy_here.root, run, "toy", "validate", StageRecord(outcome="ran"), "0" * 32)

    found = {one.path for one in client().list_artifacts(run, "data_docs")}
    assert found == {"data_docs/index.html", "data_docs/rows.html"}
    metrics = client().get_run(run).data.metrics
    assert metrics["validate.rows.kept"] == 3
    assert metrics["validate.quarantined.html"] == 1
    (read,) = client().get_run(run).inputs.dataset_inputs
    assert read.dataset.digest == "0" * 32


def test_the_record_credits_the_run_that_made_an_artefact() -> None:
    record = RunRecord(recipe="r", door="dvc", mlflow_run_id="first")
    record.add_stage("train", StageRecord(outcome="ran", manifest_sha256="a" * 64))
    record.credit()
    later = RunRecord(recipe="r", door="dvc", mlflow_run_id="second", makers=record.makers)
    later.add_stage("train", StageRecord(outcome="cached", manifest_sha256="a" * 64))
    later.credit()

    assert later.stages["train"].made_by == "first"


def test_a_stage_that_ran_stays_so_when_it_is_met_again_unchanged() -> None:
    record = RunRecord(recipe="r", door="dvc", mlflow_run_id="first")
    record.add_stage("train", StageRecord(outcome="ran", seconds=9.0, manifest_sha256="a" * 64))
    record.add_stage("train", StageRecord(outcome="cached", manifest_sha256="a" * 64))
    assert record.stages["train"].outcome == "ran"
    assert record.stages["train"].seconds == 9.0

    record.add_stage("train", StageRecord(outcome="restored", manifest_sha256="b" * 64))
    assert record.stages["train"].outcome == "restored"


def test_an_error_inside_leaves_the_record_as_it_was(toy: Toy) -> None:
    def spoil() -> None:
        with open_record(toy.root, "toy", "dvc") as record:
            record.mlflow_run_id = "spoilt"
            raise KeyError

    with open_record(toy.root, "toy", "dvc") as record:
        record.mlflow_run_id = "first"
    before = record_file(toy.root, "toy").read_bytes()
    with pytest.raises(KeyError):
        spoil()
    assert record_file(toy.root, "toy").read_bytes() == before
