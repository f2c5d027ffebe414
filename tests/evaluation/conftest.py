"""A dataset of made-up questions with labels, its tokens, and an adapter for the tiny model."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_harness import write_rows, write_task

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


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("lm_eval", "rouge_score", "sacrebleu"):
        pytest.importorskip(name, reason=f"{name} is in the dev extra")
    root = tmp_path_factory.mktemp("root")
    write_rows(
        root / "qa.jsonl",
        [{"question": f"what is {n}?", "answers": [str(n), f"the {n}"]} for n in range(10)],
    )
    write_rows(
        root / "code.jsonl",
        [
            {"prompt": "x = 1\n#", "test": "assert x == 1", "task_id": "easy"},
            {"prompt": "x = 1\n#", "test": "assert x == 2", "task_id": "hard"},
        ],
    )
    write_rows(root / "stories.jsonl", [{"text": "once upon a time " * n} for n in range(1, 9)])
    (root / "lm_eval").mkdir()
    rng = random.Random(0)
    write_task(
        root / "lm_eval",
        "local",
        [{"q": f"{n} and", "c": ["one", "two two"], "gold": rng.randrange(2)} for n in range(12)],
        output_type="multiple_choice",
        doc_to_text="{{q}}",
        doc_to_choice="c",
        doc_to_target="gold",
        metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}],
    )
    return root
