"""The tables of the dataset artefact."""

import json
from pathlib import Path
from typing import Any

from components.contracts.tables import dataset_schema
from components.validation.identity import SPLITS
from components.validation.outcome import Outcome


def write_tables(folder: Path, outcome: Outcome, splits: Any) -> None:
    """Write a table a split (in the order of the source) and `quarantine.parquet`.

    `splits` is the split of every kept row, as an index in `SPLITS`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = outcome.rows.table.select(dataset_schema().names).take(pa.array(outcome.kept))
    kept = _with_single_ids(kept)
    for number, split in enumerate(SPLITS):
        table = kept.filter(pa.array(splits == number)).cast(dataset_schema())
        pq.write_table(table, folder / f"{split}.parquet")
    pq.write_table(_quarantine(outcome), folder / "quarantine.parquet")


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


def _quarantine(outcome: Outcome) -> Any:
    import pyarrow as pa

    rows = outcome.quarantined
    table = outcome.rows.table.select(["source", "row"]).take(pa.array(rows))
    why = [outcome.why(row) for row in rows.tolist()]
    fields = [_json(one) for one in outcome.rows.as_they_came(rows)]
    columns = [
        *table.columns,
        pa.array([finding.check.name for finding, _ in why], pa.string()),
        pa.array([finding.check.severity for finding, _ in why], pa.string()),
        pa.array([value for _, value in why], pa.string()),
        pa.array(fields, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=quarantine_schema())


def _with_single_ids(kept: Any) -> Any:
    """Number the ids of equal rows: only when the recipe lets duplicates stay are there any."""
    import pandas as pd
    import pyarrow as pa

    ids = pd.Series(kept["id"].to_numpy(zero_copy_only=False), dtype=object)
    if ids.is_unique:
        return kept
    again = ids.groupby(ids).cumcount()
    single = ids.where(again == 0, ids + "-" + (again + 1).astype(str))
    return kept.set_column(0, kept.schema.field(0), pa.array(single.to_list(), pa.string()))


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: only its escape can be stored
        return json.dumps(value)
    return text
