"""The tables of the dataset artefact."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.contracts.tables import dataset_schema
from components.validation.identity import SPLITS, row_id
from components.validation.outcome import Outcome, Quarantined
from components.validation.rows import Row


def write_tables(folder: Path, outcome: Outcome, splits: Sequence[str]) -> None:
    """Write a table a split (in the order of the source) and `quarantine.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: Counter[str] = Counter()
    by_split: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for row, split in zip(outcome.kept, splits, strict=True):
        by_split[split].append(_line(row, seen))
    for split, lines in by_split.items():
        table = pa.Table.from_pylist(lines, schema=dataset_schema())
        pq.write_table(table, folder / f"{split}.parquet")
    taken = [_quarantined(entry) for entry in outcome.quarantined]
    table = pa.Table.from_pylist(taken, schema=quarantine_schema())
    pq.write_table(table, folder / "quarantine.parquet")


def quarantine_schema() -> Any:
    """One row that was taken out: its place, why, the value found and its fields as JSON."""
    import pyarrow as pa

    return pa.schema(
        [
            ("source", pa.string()),
            ("row", pa.int64()),
            ("expectation", pa.string()),
            ("severity", pa.string()),
            ("value", pa.string()),
            ("fields", pa.string()),
        ]
    )


def _line(row: Row, seen: Counter[str]) -> dict[str, Any]:
    example = row.example
    if example is None:
        raise AssertionError(f"{row.place} was kept without an example")
    identity = row_id(example)
    seen[identity] += 1
    if seen[identity] > 1:  # only when the recipe lets duplicates stay
        identity = f"{identity}-{seen[identity]}"
    return {
        "id": identity,
        "source": row.source,
        "row": row.row,
        "text": example.text,
        "messages": json.dumps(example.messages, ensure_ascii=False),
        "answer": example.answer,
        "choices": list(example.choices),
        "target": example.target,
        "rejected": example.rejected,
        "references": list(example.references),
    }


def _quarantined(entry: Quarantined) -> dict[str, Any]:
    return {
        "source": entry.row.source,
        "row": entry.row.row,
        "expectation": entry.expectation,
        "severity": "quarantine",
        "value": entry.value,
        "fields": json.dumps(entry.row.before, ensure_ascii=False),
    }
