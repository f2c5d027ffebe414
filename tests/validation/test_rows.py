"""Reading rows: the same whatever the stretches and processes, and text that no file can hold."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted import FAULTS, SETTINGS, row, sentence, sound

from components.contracts.errors import DataError
from components.validation import rows as reading
from components.validation.rows import stretches_of

ROOT = Path(__file__).resolve().parents[2]
SPLIT = {key: value for key, value in SETTINGS["splits"].items() if key != "group_by"}
KINDS = {"severity": SETTINGS["severity"], "splits": SPLIT, "max_quarantined_share": 0.9}
MIXED = [*sound(60), *(one for fault in FAULTS.values() for one in fault.rows)]


def test_stretches_hold_whole_lines_and_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(b"%d\n" % 10**n for n in range(40)))
    content = file.read_bytes()
    for size in (1, 7, 100, 10_000):
        pieces = [content[start:stop] for start, stop in stretches_of(file, size)]
        assert b"".join(pieces) == content
        assert all(piece.endswith(b"\n") for piece in pieces)


@pytest.mark.parametrize("processes", [1, 2])
def test_stretches_and_processes_change_nothing(
    run: Any, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    whole = run(MIXED, **KINDS).files
    monkeypatch.setattr(reading, "STRETCH", 1500)
    monkeypatch.setattr(reading, "_cores", lambda: processes)
    # A spawned process gets this path; tests of toy projects leave theirs on it.
    monkeypatch.syspath_prepend(str(ROOT))
    assert run(MIXED, **KINDS).files == whole


def test_a_row_in_quarantine_is_as_it_came(run: Any) -> None:
    odd = {"text": " R&amp;D \r\n\ufffd ", "label": "good", "extra": {"n": [1, None, "ü"]}}
    dataset = run([*sound(60), odd], unescape_html=True)
    assert json.loads(pq.read_table(dataset.quarantine)["fields"][0].as_py()) == odd


def test_half_a_surrogate_pair_is_damage_and_no_crash(run: Any) -> None:
    rows = [*sound(60), row(f"{sentence('half')} \ud83d"), row(f"{sentence('whole')} \U0001f600")]
    dataset = run(rows)
    taken = pq.read_table(dataset.quarantine).to_pylist()
    assert [(one["row"], one["expectation"], one["value"]) for one in taken] == [
        (61, "encoding", "U+FFFD")
    ]
    assert json.loads(taken[0]["fields"])["text"].endswith("\ud83d")


def test_without_a_row_the_figures_stop_the_line(run: Any) -> None:
    with pytest.raises(DataError, match="min_rows: expected rows kept: at least 1, found 0"):
        run([], columns=["text", "label"])
