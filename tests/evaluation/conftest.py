"""A dataset of made-up questions with labels, its tokens, and an adapter for the tiny model."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.contracts.tables import dataset_schema
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenize import tokenize

LABELS = ["good", "fair", "poor"]
WORDS = "soup bread tea was is very not warm cold nice old".split()  # noqa: SIM905


def row(split: str, index: int) -> dict[str, Any]:
    rng = random.Random(f"{split} {index}")
    text, target = " ".join(rng.choices(WORDS, k=rng.randrange(2, 9))), index % 3
    messages = [
        {"role": "system", "content": "good, fair or poor?"},
        {"role": "user", "content": text},
        {"role": "assistant", "content": LABELS[target]},
    ]
    return {
        "id": f"{split}-{index}",
        "source": "made up",
        "row": index,
        "text": text,
        "messages": json.dumps(messages),
        "answer": LABELS[target],
        "choices": LABELS,
        "target": target,
        "rejected": "",
        "references": [LABELS[target]],
    }


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("dataset") / "dataset"
    with Dataset.write(folder) as draft:
        for split, count in (("train", 30), ("validation", 6), ("test", 24)):
            table = pa.Table.from_pylist(
                [row(split, index) for index in range(count)], schema=dataset_schema()
            )
            pq.write_table(table, draft.folder / f"{split}.parquet")
    return Dataset.open(folder)


@pytest.fixture(scope="session")
def tokens(
    tiny_base: BaseModelFolder, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Tokens:
    folder: Path = tmp_path_factory.mktemp("made_tokens")
    context = Context(root=folder, scratch=folder)
    settings = TokenizationSettings(max_length=256)
    return tokenize(tiny_base, dataset, settings, out=folder / "tokens", context=context)
