"""Rows as the ingest step writes them, and the validate step on them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from components.contracts.events import Context
from components.contracts.kinds import Dataset, Raw
from components.formats.settings import FormatSettings
from components.validation.settings import ValidationSettings
from components.validation.validate import validate

LABELS = {
    "kind": "classification",
    "label": {"column": "label", "names": ["bad", "good"]},
}
CLEAN = [
    {"text": f"{word} number {n}", "label": ("bad", "good")[n % 2]}
    for n in range(60)
    for word in ["row"]
]

Validate = Callable[..., Dataset]


@pytest.fixture
def run(context: Context) -> Validate:
    """Validate rows given as dictionaries; keywords are settings, `form` the format."""

    def run(rows: Sequence[dict[str, Any]], form: Any = None, **settings: Any) -> Dataset:
        return validate(
            write_raw(context.root / "raw", rows),
            TypeAdapter(FormatSettings).validate_python(form or LABELS),
            ValidationSettings(**settings),
            out=context.root / "dataset",
            context=context,
        )

    return run


def write_raw(path: Path, rows: Sequence[dict[str, Any]]) -> Raw:
    columns: dict[str, None] = {}
    with Raw.write(path) as draft, (draft.folder / "rows.jsonl").open("w") as stream:
        for number, fields in enumerate(rows, start=1):
            line = {"source": "demo.jsonl", "row": number, "fields": fields}
            stream.write(json.dumps(line) + "\n")
            columns |= dict.fromkeys(fields)
        draft.facts = {"rows": len(rows), "columns": list(columns)}
    return Raw.open(path)
