"""What is remembered of accepted data: past test rows, and what drift is measured against."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted import row, sentence, sound

from components.contracts.artefacts import read_manifest
from components.contracts.errors import ArtefactError, DataError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Dataset
from components.validation.accepted import accept
from components.validation.identity import SPLITS

SPLIT = {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 1}
ROWS = sound(80)


@pytest.fixture
def folder(context: Context) -> Path:
    return context.root / "accepted"


def texts(dataset: Dataset, *splits: str) -> set[str]:
    return {
        text
        for one in splits or SPLITS
        for text in pq.read_table(dataset.split(one))["text"].to_pylist()
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_without_a_memory_nothing_is_held_back(run: Any, folder: Path) -> None:
    missing = run(ROWS, splits=SPLIT)
    assert missing.facts["drift"] == {}
    folder.mkdir()
    (folder / ".gitkeep").touch()
    assert run(ROWS, splits=SPLIT).digest == missing.digest
    assert contents(folder) == {".gitkeep": b""}, "validation must not write there"


def test_accepting_takes_no_row_out_of_the_same_data(run: Any, folder: Path) -> None:
    near = [
        row(f"{one['text']} {sentence(n, 20)} anew", one["label"]) for n, one in enumerate(ROWS)
    ]
    rows = [*ROWS, *(row(one["text"].removesuffix(" anew"), one["label"]) for one in near), *near]
    first = run(rows, splits=SPLIT)
    assert first.facts["warnings"]["near_leakage"] > 3, "some near copies must lie across splits"
    before = {split: texts(first, split) for split in SPLITS}
    accept(first, folder)
    again = run(rows, splits=SPLIT)
    assert {split: texts(again, split) for split in SPLITS} == before
    assert "holdout" not in again.facts["quarantined"]
    assert max(again.facts["drift"].values()) == 1.0  # the p-value; all distances are 0
    assert {v for name, v in again.facts["drift"].items() if name != "ks_length_p"} == {0.0}


def test_accepting_twice_changes_nothing_and_rows_only_come_to_it(run: Any, folder: Path) -> None:
    first = run(ROWS, splits=SPLIT)
    accept(first, folder)
    once = contents(folder)
    accept(first, folder)
    assert contents(folder) == once
    past = texts(first, "test")
    accept(run(sound(120)[60:], splits=SPLIT), folder)
    held = set(pq.read_table(folder / "holdout.parquet")["text"].to_pylist())
    assert past < held
    assert not list(folder.glob("*.tmp"))


def test_another_seed_lets_no_past_test_row_into_training(run: Any, folder: Path) -> None:
    first = run(ROWS, splits=SPLIT)
    accept(first, folder)
    dealt_anew = run(ROWS, name="anew", splits={**SPLIT, "seed": 2}, max_quarantined_share=0.5)
    past = texts(first, "test")
    assert not past & texts(dealt_anew, "train", "validation")
    taken = pq.read_table(dealt_anew.quarantine).to_pylist()
    assert {one["expectation"] for one in taken} == {"holdout"}
    assert len(taken) + len(past & texts(dealt_anew, "test")) == len(past)
    assert all(one["value"].startswith("test row of an earlier run: demo.jsonl:") for one in taken)


def test_a_past_test_row_is_known_under_another_duplicate_key(run: Any, folder: Path) -> None:
    first = run(ROWS, splits=SPLIT)
    accept(first, folder)
    shouted = [row(f"{text.upper()}!!!") for text in sorted(texts(first, "test"))]
    dataset = run(
        [*sound(60), *shouted],
        name="shouted",
        splits={**SPLIT, "seed": 5},
        duplicate_key="words",
        near_duplicate_threshold=None,
        max_quarantined_share=0.9,
    )
    known = texts(first, "test")
    assert not {
        text for text in texts(dataset, "train", "validation") if text.lower().strip("!") in known
    }


def test_drift_is_told_and_can_stop_the_line(run: Any, folder: Path, context: Context) -> None:
    accept(run(ROWS, splits=SPLIT), folder)
    longer = [row(sentence(f"new {n}", 25), ("bad", "good")[n % 9 == 0]) for n in range(80)]
    dataset = run(longer, splits=SPLIT)
    drift = dataset.facts["drift"]
    assert drift["psi_length"] > 1
    assert drift["psi_label"] > 0.2
    assert drift["ks_length"] == pytest.approx(1.0)
    assert dataset.facts["warnings"]["drift"] >= 3
    assert isinstance(context.events, Heard)
    assert any("drift from the last accepted data" in note for note in context.events.notes)
    with pytest.raises(DataError, match=r"drift: expected PSI of length: 0 to 0\.2, found"):
        run(longer, splits=SPLIT, severity={"drift": "stop"})


def test_data_like_the_last_does_not_drift(run: Any, folder: Path) -> None:
    accept(run(sound(400), splits=SPLIT), folder)
    rows = [row(sentence(n), ("bad", "good")[n % 2]) for n in range(1000, 1400)]
    assert "drift" not in run(rows, splits=SPLIT).facts["warnings"]


@pytest.mark.parametrize("name", ["holdout.parquet", "trained.parquet", "profile.json"])
def test_a_memory_that_cannot_be_read_stops(run: Any, folder: Path, name: str) -> None:
    accept(run(ROWS, splits=SPLIT), folder)
    (folder / name).write_bytes(b"half a fi")
    with pytest.raises(ArtefactError, match=name) as error:
        run(ROWS, splits=SPLIT)
    assert "dvc checkout" in str(error.value.fix)


def test_a_crash_while_accepting_leaves_whole_files(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(ROWS, splits=SPLIT)
    accept(first, folder)
    before = contents(folder)
    more = run(sound(100), name="more", splits=SPLIT)
    crash_at_profile(monkeypatch)
    with pytest.raises(OSError, match="no room"):
        accept(more, folder)
    assert contents(folder)["profile.json"] == before["profile.json"]
    monkeypatch.undo()
    accept(more, folder)
    mended = contents(folder)
    shutil.rmtree(folder)
    accept(first, folder)
    accept(more, folder)
    assert {n: c for n, c in mended.items() if not n.startswith(".")} == contents(folder)


def crash_at_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.validation import accepted

    def crash(file: Path, value: Any) -> None:
        raise OSError("no room")

    crashing: Callable[[Path, Any], None] = crash
    monkeypatch.setattr(accepted, "write_json", crashing)


def test_the_profile_is_a_file_and_not_in_the_manifest(run: Any) -> None:
    dataset = run(ROWS, splits=SPLIT)
    assert "profile.json" in dataset.files
    assert "vocabulary" not in str(read_manifest(dataset.path)["facts"])


def test_past_test_rows_that_dvc_has_not_brought_stop(run: Any, folder: Path) -> None:
    accept(run(ROWS), folder)
    (folder / "holdout.parquet").rename(folder / "holdout.parquet.dvc")
    with pytest.raises(ArtefactError, match=r"holdout.parquet of accepted is kept by DVC") as error:
        run(ROWS)
    assert error.value.fix == "dvc pull data/accepted/accepted/holdout.parquet.dvc"
