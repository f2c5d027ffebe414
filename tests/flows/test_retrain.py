"""A tick on a real project, cache and registry: what it finds, what it costs, what it records."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from champion_project import NAME, NEW, OLD, give_store, register
from data_project import done
from toy_project import Toy

from components.contracts.errors import DataError
from components.retraining.facts import Decision, Half, Rescored
from components.retraining.settings import RetrainSettings
from flows.data_version import bring
from flows.locked import locked_hashes
from flows.recipe import Recipe, load_recipe
from flows.record import Fault, open_record
from flows.retrain_act import record
from flows.retrain_budget import budget
from flows.retrain_look import look
from flows.retrain_tick import alone, read_tick
from flows.store import client
from flows.summary import gather
from flows.unfit import unfit

QUICK = """
import atexit, sys
from flows.cli import command

HEAVY = {"torch", "transformers", "onnxruntime", "great_expectations"}
atexit.register(lambda: print(sorted(HEAVY & set(sys.modules)), file=sys.stderr))
sys.argv = ["tuneline", "retrain", "tiny", "--json"]
sys.exit(command())
"""


@pytest.fixture
def project(versions_here: Toy, toy_template: Path) -> Toy:
    give_store(versions_here, toy_template)
    return versions_here


def settings_of(project: Toy, **retrain: Any) -> Recipe:
    recipe = load_recipe(project.root, NAME)
    return recipe.model_copy(update={"retrain": RetrainSettings(**retrain)})


def never(line: str) -> None:
    raise AssertionError(f"a stage was begun: {line}")


def test_an_unchanged_tick_is_a_skip_that_loads_nothing(project: Toy) -> None:
    run = register(project, NEW, champion=True)
    lock = (project.root / "dvc.lock").read_bytes()

    ended = project.run(sys.executable, "-c", QUICK)

    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "[]"
    assert json.loads(ended.stdout)["decision"]["action"] == "skip"
    assert (project.root / "dvc.lock").read_bytes() == lock
    tags = client().get_run(run).data.tags
    assert tags["retrain.decision"] == "skip"
    assert "the champion (version 1) saw" in tags["retrain.reasons"]
    shown = gather(project.root, NAME).retrain
    assert shown is not None
    assert (shown.action, shown.champion, shown.mlflow_run_id) == ("skip", "1", run)


def test_rows_that_came_since_are_counted_once(
    project: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(project, OLD, champion=True)
    settings, told = settings_of(project, min_new_rows=10), []

    tick = look(project.root, NAME, settings, told.append)

    assert told, "rows have come"
    assert tick.decision.action == "fine-tune"
    assert tick.facts.data is not None
    assert 50 < tick.facts.data.new_rows <= 60
    assert tick.facts.data.known
    assert tick.facts.data.drift.keys() == {"psi_length", "psi_label", "psi_vocabulary"}

    rescored = Rescored(known=Half(items=1), fresh=Half(items=2))
    facts = tick.facts.model_copy(update={"rescored": rescored})
    tick = tick.model_copy(update={"facts": facts, "failures": 2})
    record(project.root, NAME, tick, None)
    again = look(project.root, NAME, settings, never)
    assert again.facts.data == tick.facts.data
    assert (again.facts.rescored, again.failures) == (rescored, 2)

    register(project, NEW, champion=False, verdict="keep")
    judged = look(project.root, NAME, settings, never)
    assert judged.decision.action == "skip"
    assert (
        "version 2 was made of these very rows already (verdict: keep)"
        in (judged.decision.reasons[0])
    )

    client().set_registered_model_alias(NAME, "champion", "2")
    assert "version 2) saw" in look(project.root, NAME, settings, never).decision.reasons[0]


def test_a_champion_without_lineage_counts_all_rows_as_new(project: Toy) -> None:
    store = client()
    store.create_registered_model(NAME)
    store.create_model_version(NAME, (project.root / "nothing").as_uri())
    store.set_registered_model_alias(NAME, "champion", "1")

    tick = look(project.root, NAME, settings_of(project), print)

    assert tick.facts.data is not None
    assert not tick.facts.data.known
    assert tick.decision.action == "fine-tune"


def test_the_first_tick_trains(project: Toy) -> None:
    tick = look(project.root, NAME, settings_of(project), print)

    assert tick.decision == Decision(
        action="fine-tune", reasons=("there is no champion yet",), start="fresh"
    )


def test_hours_of_the_month_are_those_of_its_runs(project: Toy) -> None:
    from datetime import UTC, datetime

    store = client()
    experiment = store.create_experiment(NAME)
    now = datetime(2026, 3, 5, tzinfo=UTC)
    for day, seconds in (("2026-02-27", 7200), ("2026-03-01", 3600), ("2026-03-04", 1800)):
        begun = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000)
        run = store.create_run(experiment, start_time=begun).info.run_id
        store.log_metric(run, "train.seconds", seconds)
    failed = store.create_run(experiment, start_time=int(now.timestamp() * 1000)).info.run_id
    for minutes in (0, 30):
        store.log_metric(failed, "loss", 1.0, timestamp=60_000 * minutes + 10**12)

    found = budget(project.root, NAME, now)

    if not found.accelerator:
        assert found.used_hours == pytest.approx(1.0 + 0.5 + 0.5)
        assert found.forecast_hours == pytest.approx(0.5)


def test_of_two_ticks_the_second_is_told(project: Toy) -> None:
    with alone(project.root, NAME) as first:
        assert first
        done = project.run(sys.executable, "-m", "flows.cli", "retrain", NAME, "--dry-run")
    assert done.returncode == 3
    assert "another tick of tiny is at work" in done.stderr
    assert read_tick(project.root, NAME) is None


def test_the_flow_ends_as_skipped_with_its_page(project: Toy, prefect_server: Any) -> None:
    from prefect.client.orchestration import get_client

    from flows.retrain import retrain

    register(project, NEW, champion=True)
    state = retrain(NAME, return_state=True)

    assert (state.name, state.type.value) == ("Skipped", "COMPLETED")
    tick = read_tick(project.root, NAME)
    assert tick is not None
    assert tick.prefect_flow_run_id
    with get_client(sync_client=True) as prefect:
        (page,) = [one for one in prefect.read_artifacts() if one.key == "retrain-tiny"]
    assert "saw" in str(page.data)
    assert str(page.flow_run_id) == tick.prefect_flow_run_id


def test_a_fine_tune_is_a_flow_within_and_carries_the_reason(
    project: Toy, prefect_server: Any
) -> None:
    from flows.retrain import retrain

    state = retrain(NAME, return_state=True)

    assert (state.name, state.message) == ("FineTuned", "there is no champion yet")
    tick = read_tick(project.root, NAME)
    assert tick is not None
    assert tick.failures == 0
    tags = client().get_run(str(tick.mlflow_run_id)).data.tags
    assert tags["retrain.decision"] == "fine-tune"
    assert tags["retrain.start"] == "fresh"
    assert {"stage.ingest", "stage.validate"} <= tags.keys()
    assert tags["prefect.flow_run_id"] != tags["retrain.prefect.flow_run_id"]


def test_watching_an_empty_folder_does_nothing(project: Toy, prefect_server: Any) -> None:
    from flows.watch import watch

    state = watch(NAME, return_state=True)

    assert (state.name, state.message) == ("Skipped", "nothing has come")


def test_of_failures_in_a_row_the_first_is_told(
    project: Toy, prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import alerts
    from flows import watch as watching
    from flows.watch import watch

    told: list[str] = []
    monkeypatch.setattr(alerts, "_tell", lambda root, alert, run: told.append(alert.text))
    good = watching.take_incoming

    def away(*_: Any) -> Any:
        raise ConnectionError("the bucket is away")

    for take in (away, away, good, away):
        monkeypatch.setattr(watching, "take_incoming", take)
        watch(NAME, return_state=True)
    assert len(told) == 2
    assert all("the bucket is away" in text for text in told)


@pytest.mark.slow
def test_the_rows_of_the_champion_come_from_the_remote(project: Toy, tmp_path: Path) -> None:
    root = project.root
    md5, wanted = locked_hashes(root, NAME)["validate"], "profile.json"
    done(project, "dvc", "remote", "add", "--default", "store", (tmp_path / "store").as_posix())
    done(project, "dvc", "push")
    shutil.rmtree(root / ".dvc/cache")

    assert bring(root, md5, tmp_path / "brought", wanted.__eq__)
    assert [file.name for file in (tmp_path / "brought").iterdir()] == [wanted]
    assert not bring(root, f"{'0' * 32}.dir", tmp_path / "nothing", wanted.__eq__)
    assert not (tmp_path / "nothing").exists()


def test_only_what_a_stage_has_against_the_rows_is_a_fault_of_theirs(project: Toy) -> None:
    with open_record(project.root, NAME, "dvc") as run:
        run.faults["validate"] = Fault(kind="DataError", message="a label is missing", retry=False)
    assert unfit(project.root, NAME, DataError("validate: a label is missing"))
    assert not unfit(project.root, NAME, DataError("is busy, it is being blocked by"))

    with open_record(project.root, NAME, "dvc") as run:
        run.faults["validate"] = Fault(kind="Crash", message="killed", retry=True)
    assert not unfit(project.root, NAME, DataError("validate: killed"))
