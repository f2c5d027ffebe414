"""Rows that are encoded elsewhere, in any order, make the very same artefact."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.tokenization import batches
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenize import tokenize


def row(number: int) -> dict[str, Any]:
    text = f"row {number} says " + "so " * (number % 7)
    answer = "yes" if number % 2 else "no"
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {
        "text": text,
        "messages": json.dumps(turns),
        "answer": answer,
        "choices": ["yes", "no"],
        "target": 1 - number % 2,
    }


def backwards(function: Any, items: Any) -> Iterator[Any]:
    """Work on the last batch first, each as another process would: from pickled copies."""
    sent = [pickle.dumps((function, item)) for item in items]
    made = {}
    for place in reversed(range(len(sent))):
        copy, item = pickle.loads(sent[place])
        made[place] = pickle.loads(pickle.dumps(copy(item)))
    yield from (made[place] for place in range(len(sent)))


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make many batches of few rows."""
    monkeypatch.setattr(batches, "ROWS", 7)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("truncation", ["truncate_prompt", "drop"])
def test_the_same_bytes(
    context: Context, tiny_base: BaseModelFolder, make_dataset: Any, truncation: str
) -> None:
    rows = [row(number) for number in range(60)]
    dataset: Dataset = make_dataset(
        context.root / "dataset", {"train": rows, "validation": rows[:9], "test": rows[9:20]}
    )
    settings = TokenizationSettings(max_length=40, truncation=truncation)
    made: list[Tokens] = []
    for name, spread in (("here", None), ("elsewhere", backwards)):
        out = context.root / name
        made.append(tokenize(tiny_base, dataset, settings, out=out, context=context, spread=spread))
    here, elsewhere = (Path(one.path / "manifest.json").read_bytes() for one in made)
    assert here == elsewhere


@pytest.mark.usefixtures("few_rows")
def test_faults_of_rows_are_told_as_here(
    context: Context, tiny_base: BaseModelFolder, make_dataset: Any
) -> None:
    dataset = make_dataset(context.root / "dataset", {"train": [row(n) for n in range(30)]})
    told = []
    for spread in (None, backwards):
        with pytest.raises(DataError) as caught:
            tokenize(
                tiny_base,
                dataset,
                TokenizationSettings(max_length=20),
                out=context.root / "tokens",
                context=context,
                spread=spread,
            )
        told.append(str(caught.value))
    assert "longer than max_length" in told[0]
    assert told[0] == told[1]
