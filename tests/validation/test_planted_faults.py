"""Every kind of fault, alone and all in one file: caught under its name, at its file and row."""

import json
from collections import Counter
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted import BENCHMARK, FAULTS, PAST_ROWS, SETTINGS, Planted, Row, mixture, sentence, sound

from components.contracts.events import Context
from components.contracts.kinds import Dataset
from components.validation.accepted import accept
from components.validation.identity import SPLITS

SOURCES = ("monday.jsonl", "tuesday.jsonl")
SOUND = sound(60)

Place = tuple[str, int]


@pytest.fixture
def remembering(run: Any, context: Context) -> Any:
    """Validate after an earlier run was accepted, with an evaluation set to keep away from."""
    earlier = run([*sound(40), *PAST_ROWS], splits=SETTINGS["splits"])
    accept(earlier, context.root / "accepted")
    lines = [json.dumps({"text": text}) for text in (sentence("benchmark"), BENCHMARK)]
    (context.root / "benchmark.jsonl").write_text("\n".join(lines) + "\n")
    return run


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_where_it_stands(remembering: Any, name: str) -> None:
    fault = FAULTS[name]
    dataset = remembering([*SOUND, *fault.rows], sources=SOURCES, **SETTINGS)
    assert_caught(dataset, fault, len(SOUND))
    assert_nothing_is_lost(dataset, len(SOUND) + len(fault.rows))
    assert dataset.facts["rows"]["quarantined"] <= len(fault.rows), "a sound row was taken out"


def test_all_faults_in_one_file_are_caught_at_once(remembering: Any) -> None:
    rows: list[Row] = list(SOUND)
    at: dict[str, int] = {}
    for name, fault in FAULTS.items():
        at[name] = len(rows)
        rows += fault.rows
    dataset = remembering(rows, sources=SOURCES, **SETTINGS)
    for name, fault in FAULTS.items():
        assert_caught(dataset, fault, at[name])
    assert_nothing_is_lost(dataset, len(rows))
    planted = {place(n) for n in range(len(SOUND), len(rows))}
    assert set(quarantined(dataset)) <= planted, "a sound row was taken out"


@pytest.mark.parametrize("seed", range(4))
def test_rows_in_are_rows_kept_and_quarantined_in_any_mixture(remembering: Any, seed: int) -> None:
    rows = list(mixture(seed))
    dataset = remembering(rows, sources=SOURCES, **SETTINGS)
    assert_nothing_is_lost(dataset, len(rows))


def assert_caught(dataset: Dataset, fault: Planted, start: int) -> None:
    """Look in the quarantine, or among the warnings if the fault only warns."""
    said = quarantined(dataset) | {
        (place, name): value for name, found in warned(dataset).items() for place, value in found
    }
    for number in fault.caught:
        where = place(start + number)
        found = said.get(where) or said.get((where, fault.expectation))
        found = found if isinstance(found, str) else (found or ("", "nothing"))[1]
        names = {said[where][0]} if where in said else set()
        names |= {key[1] for key in said if key == (where, fault.expectation)}
        assert fault.expectation in names, (where, names)
        assert fault.found in found


def assert_nothing_is_lost(dataset: Dataset, count: int) -> None:
    kept = [
        (one["source"], one["row"])
        for split in SPLITS
        for one in pq.read_table(dataset.split(split)).to_pylist()
    ]
    everything = Counter([*kept, *quarantined(dataset)])
    assert everything == Counter(place(number) for number in range(count))
    rows = dataset.facts["rows"]
    assert (rows["in"], rows["kept"]) == (count, len(kept))
    assert rows["quarantined"] == count - len(kept) == sum(dataset.facts["quarantined"].values())


def quarantined(dataset: Dataset) -> dict[Any, Any]:
    """Return expectation and value of every row that was taken out, by its place."""
    rows = pq.read_table(dataset.quarantine).to_pylist()
    assert len({(one["source"], one["row"]) for one in rows}) == len(rows)
    return {(one["source"], one["row"]): (one["expectation"], one["value"]) for one in rows}


def warned(dataset: Dataset) -> dict[str, list[tuple[Place, str]]]:
    found = dataset.facts["warned_rows"]
    return {
        name: [(split(one["row"]), one["value"]) for one in rows] for name, rows in found.items()
    }


def split(place: str) -> Place:
    source, _, row = place.rpartition(":")
    return source, int(row)


def place(number: int) -> Place:
    """Return where a row stands: the rows come from two files in turn."""
    return SOURCES[number % 2], number // 2 + 1
