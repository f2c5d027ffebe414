"""Every format: a row, its example, a row written from it, and the same example again."""

import json
from typing import Any

import pytest
from odd_rows import TEXTS, rows
from pydantic import TypeAdapter

from components.contracts.errors import DataError
from components.formats.example import Example
from components.formats.read import FORMATS, columns, read, used_columns, write
from components.formats.settings import FormatSettings


def settings(values: dict[str, Any]) -> Any:
    return TypeAdapter(FormatSettings).validate_python(values)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_odd_rows_come_back_as_the_same_example(kind: str) -> None:
    cases = rows(kind)
    assert len(cases) >= 2 * len(TEXTS)
    for values, row in cases:
        form = settings(values)
        example = read(row, form)
        again = write(example, form)
        assert set(again) <= set(used_columns(form))
        assert read(json.loads(json.dumps(again)), form) == example, (values, row)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_nothing_but_the_used_columns_is_looked_at(kind: str) -> None:
    """Validation passes on these columns only, with null for one that a row does not have."""
    for values, row in rows(kind):
        form = settings(values)
        assert set(columns(form)) <= set(used_columns(form))
        passed = {name: row.get(name) for name in used_columns(form)}
        assert read(passed, form) == read(row, form)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_every_example_keeps_its_promises(kind: str) -> None:
    for values, row in rows(kind):
        example = read(row, settings(values))
        if kind == "text":
            assert example == Example((), "", (), -1, row[values.get("text", "text")])
            assert example.references == ()
            continue
        assert example.messages[-1] == {"role": "assistant", "content": example.answer}
        assert example.references[0] == example.answer
        assert len(set(example.references)) == len(example.references)
        assert bool(example.rejected) == (kind == "preference")
        assert example.answer != example.rejected
        assert example.answer in example.text or example.choices


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {"text"}))
def test_an_example_that_a_kind_cannot_hold_is_not_written(kind: str) -> None:
    whole = read({"text": "all"}, settings({"kind": "text"}))
    with pytest.raises(DataError, match=f"no row of the kind '{kind}'"):
        write(whole, settings(rows(kind)[0][0]))


def test_a_row_without_doubt_is_written_as_it_was() -> None:
    row: dict[str, Any] = {
        "instruction": "Add.",
        "input": "2, 3",
        "output": "5",
        "system": "Be brief.",
    }
    row |= {"history": [["hi", "hello"]]}
    form = settings({"kind": "alpaca", "template": "{instruction} Input: {input}"})
    assert write(read(row, form), form) == row
