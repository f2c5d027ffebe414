"""The kind that was told and the columns that came with preference and question answering."""

import json
from typing import Any

import pyarrow.parquet as pq

from components.contracts.events import Context
from components.contracts.kinds import Dataset, Raw
from components.contracts.tables import dataset_schema
from components.formats.settings import AutoSettings
from components.validation.settings import ValidationSettings
from components.validation.validate import validate


def dataset(context: Context, row: Any) -> Dataset:
    rows = [row(number) for number in range(60)]
    with Raw.write(context.root / "raw") as draft:
        lines = [{"source": "x", "row": n, "fields": fields} for n, fields in enumerate(rows)]
        (draft.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
        draft.facts = {"rows": len(rows), "columns": list(rows[0])}
    return validate(
        Raw.open(context.root / "raw"),
        AutoSettings(kind="auto"),
        ValidationSettings(),
        out=context.root / "dataset",
        context=context,
    )


def test_the_told_kind_is_a_fact_and_rejected_answers_are_kept(context: Context) -> None:
    made = dataset(context, lambda n: {"prompt": f"p {n}", "chosen": f"c {n}", "rejected": "no"})
    assert made.facts["format"]["kind"] == "preference"
    assert made.facts["format"]["chosen"] == "chosen"
    table = pq.read_table(made.split("train"))
    assert table.schema.names == dataset_schema().names
    assert set(table["rejected"].to_pylist()) == {"no"}
    assert all(r == [a] for r, a in zip(*columns(table), strict=True))


def test_all_accepted_answers_are_kept(context: Context) -> None:
    made = dataset(context, lambda n: {"question": f"q {n}", "answers": [f"a {n}", "b"]})
    assert made.facts["format"]["kind"] == "question_answering"
    table = pq.read_table(made.split("train"))
    assert set(table["rejected"].to_pylist()) == {""}
    assert all(r == [a, "b"] for r, a in zip(*columns(table), strict=True))


def columns(table: Any) -> tuple[list[Any], list[Any]]:
    return table["references"].to_pylist(), table["answer"].to_pylist()
