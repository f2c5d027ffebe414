"""Rows as the ingest step writes them, and the validate step on them."""

import json
from collections import Counter
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

Validate = Callable[..., Dataset]


@pytest.fixture
def run(context: Context) -> Validate:
    """Validate rows given as dictionaries; keywords are settings, `form` the format.

    The rows come from `sources` in turn; what is remembered lies in the folder `accepted`.
    """

    def run(
        rows: Sequence[dict[str, Any]],
        form: Any = None,
        sources: Sequence[str] = ("demo.jsonl",),
        columns: Sequence[str] = (),
        name: str = "dataset",
        **settings: Any,
    ) -> Dataset:
        return validate(
            write_raw(context.root / "raw", rows, sources, columns),
            TypeAdapter(FormatSettings).validate_python(form or LABELS),
            ValidationSettings(**settings),
            out=context.root / name,
            context=context,
            accepted=context.root / "accepted",
        )

    return run


def write_raw(
    path: Path, rows: Sequence[dict[str, Any]], sources: Sequence[str], names: Sequence[str]
) -> Raw:
    columns: dict[str, None] = dict.fromkeys(names)
    numbers: Counter[str] = Counter()
    with Raw.write(path) as draft, (draft.folder / "rows.jsonl").open("w") as stream:
        for at, fields in enumerate(rows):
            source = sources[at % len(sources)]
            numbers[source] += 1
            line = {"source": source, "row": numbers[source], "fields": fields}
            stream.write(json.dumps(line) + "\n")
            columns |= dict.fromkeys(fields)
        draft.facts = {"rows": len(rows), "columns": list(columns)}
    return Raw.open(path)
