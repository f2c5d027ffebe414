"""What `tuneline data` shows of a line that was really run."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from tests_line import Line

from components.contracts.errors import ArtefactError, DataError
from components.contracts.kinds import Dataset
from flows.data_mask import read_mask, show_mask
from flows.data_show import open_dataset, show_dataset


def page(terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=160, force_terminal=terminal, color_system="standard"), text


@pytest.fixture
def root(line: Line, tmp_path: Path) -> Path:
    """Return a project in which the artefacts of the line lie where `tuneline` looks."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny").symlink_to(line["raw"].path.parent, target_is_directory=True)
    return tmp_path


@pytest.fixture
def dataset(root: Path) -> Dataset:
    return open_dataset(root, "tiny")


def test_the_page_tells_what_was_left_out_and_why(dataset: Dataset) -> None:
    console, text = page()
    show_dataset("tiny", dataset, console)
    shown = text.getvalue()
    rows = dataset.facts["rows"]
    assert f"{rows['in']:,} rows in, {rows['kept']:,} kept, {rows['quarantined']:,}" in shown
    assert dataset.facts["quarantined"], "the tiny rows hold dirt on purpose"
    for name, count in dataset.facts["quarantined"].items():
        first = dataset.facts["quarantined_rows"][name][0]
        assert name in shown
        assert f"{count:,}" in shown
        assert first["row"] in shown
    for label in ("good", "fair", "poor"):
        assert label in shown
    assert shown.index("train ") < shown.index("validation ") < shown.index("test ")
    assert "█" in shown
    assert "rows left out" in shown


def test_rows_are_never_read_as_markup(dataset: Dataset) -> None:
    facts = {**dataset.facts, "cleaned": {"rows": 1, "examples": []}}
    facts["cleaned"]["examples"] = [{"row": "a:1", "before": "[bold]x[/oops]", "after": "[red]y"}]
    console, text = page()
    show_dataset("tiny", Dataset(dataset.path, facts, dataset.files), console)
    assert "[bold]x[/oops]" in text.getvalue()


def test_trained_tokens_stand_apart(root: Path) -> None:
    console, text = page()
    show_mask(read_mask(root, "tiny", "train", 3), console)
    shown = text.getvalue()
    answer = shown.partition("⟦")[2].partition("⟧")[0]
    assert answer.startswith(("good", "fair", "poor"))
    assert shown.count("⟦") == 1
    assert re.search(r"train row 3 \(rows.jsonl:\d+\): \d+ tokens, \d+ trained, 1 answer", shown)
    console, text = page(terminal=True)
    show_mask(read_mask(root, "tiny", "train", 3), console)
    assert "\x1b[1;32m" in text.getvalue()
    assert "⟦" not in text.getvalue()


def test_a_row_that_is_not_there_names_those_that_are(root: Path) -> None:
    with pytest.raises(DataError, match="counted from 1 to"):
        read_mask(root, "tiny", "test", 10**6)


def test_without_data_the_next_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="tuneline run tiny"):
        open_dataset(tmp_path, "tiny")
    with pytest.raises(ArtefactError, match="tuneline run tiny"):
        read_mask(tmp_path, "tiny", "train", 1)
