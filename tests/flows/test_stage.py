"""The DVC door: exit codes, messages, the record, and nothing half-written."""

from pathlib import Path

import pytest
from toy_project import Toy

from components.contracts.errors import DataError, SourceError, UnreachableError
from flows.backoff import worth_retrying
from flows.record import read_record


def test_a_stage_writes_its_artefact_and_its_line_in_the_record(toy: Toy) -> None:
    done = toy.run("python", "line.py", "ingest", "toy")

    assert done.returncode == 0, done.stderr
    assert (toy.root / "data/toy/raw/manifest.json").is_file()
    record = read_record(toy.root, "toy")
    assert record is not None
    assert (record.door, record.status) == ("dvc", "running")
    assert record.mlflow_run_id is None  # nothing needed MLflow so far, so nothing paid for it
    stage = record.stages["ingest"]
    assert stage.outcome == "ran"
    assert stage.peak_rss_bytes is not None
    assert 10e6 < stage.peak_rss_bytes < 2e9
    assert record.git.commit is not None
    assert record.git.dirty is False, toy.run("git", "status", "--short").stdout


def test_a_fault_is_told_without_traceback_and_leaves_nothing(toy: Toy) -> None:
    toy.turn("ingest", "bad data")
    done = toy.run("python", "line.py", "ingest", "toy")

    assert done.returncode == 2
    assert "ingest: row 3 has no label\n  → give it one" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (toy.root / "data/toy/raw").exists()
    record = read_record(toy.root, "toy")
    assert record is not None
    assert record.status == "failed"
    assert record.faults["ingest"].kind == "DataError"
    assert record.faults["ingest"].retry is False


def test_an_unknown_stage_lists_the_stages(toy: Toy) -> None:
    done = toy.run("python", "line.py", "trian", "toy")

    assert done.returncode == 2
    assert "stage 'trian' is not known; did you mean 'train'?" in done.stderr


def test_an_unknown_recipe_lists_the_recipes(toy: Toy) -> None:
    done = toy.run("python", "line.py", "train", "toi")

    assert done.returncode == 2
    assert "there is no recipe 'toi'" in done.stderr
    assert "did you mean 'toy'?" in done.stderr


def test_what_dvc_asks_for_is_what_the_door_runs(toy: Toy) -> None:
    done = toy.dvc("repro", "ingest@toy")

    assert done.returncode == 0, done.stderr
    assert toy.calls() == ["ingest"]


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (DataError("bad"), False),
        (SourceError("no such version"), False),
        (UnreachableError("no answer"), True),
        (RuntimeError("CUDA error"), True),
        (KeyboardInterrupt(), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: BaseException, worth: bool) -> None:
    assert worth_retrying(error) is worth


def test_a_source_error_behind_which_the_network_broke_is_tried_again() -> None:
    error = SourceError("half a file")
    error.__cause__ = ConnectionResetError()

    assert worth_retrying(error)


def test_the_door_stands_in_the_root(tmp_path: Path, toy: Toy) -> None:
    done = toy.run("python", "line.py", "train")

    assert done.returncode == 2
    assert "usage:" in done.stderr
