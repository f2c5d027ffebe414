"""Under torchrun all but the first process take part in silence."""

from pathlib import Path

import pytest
from toy_project import Toy

from flows.follower import follows
from flows.record import read_record


def test_another_process_of_a_group_keeps_no_record(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("ingest", "train"):
        assert toy.run("python", "line.py", stage, "toy").returncode == 0
    before = read_record(toy.root, "toy")
    assert toy.calls() == ["ingest", "train"]
    monkeypatch.setenv("RANK", "1")
    assert follows()
    done = toy.run("python", "line.py", "train", "toy")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert toy.calls() == ["train"], "it took part"
    assert read_record(toy.root, "toy") == before


def test_a_stage_that_runs_in_one_process_is_refused(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    done = toy.run("python", "line.py", "ingest", "toy")
    assert done.returncode == 2
    assert "start the train stage alone with torchrun" in done.stderr
    assert not Path(toy.root / "data/toy/raw").exists()
