"""A made-up language: what comes next hangs on the last word, by chance."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.tables import IGNORED, tokens_schema
from components.model.merge import load_merged
from components.sources.fetch import fetch
from components.sources.settings import RandomModel
from components.training.settings import TrainingSettings
from components.training.train import train

WORDS, LENGTH = 6, 20
SETTINGS = TrainingSettings(
    learning_rate=1e-2,
    warmup_steps=2,
    num_train_epochs=12,
    per_device_train_batch_size=8,
    eval_steps=8,
    save_steps=5,
    bf16=False,
)
PLACE = "data/inputs/made/model"


def chains(count: int, seed: int) -> list[list[int]]:
    """Return rows of a made-up language: the next word hangs on the last one, by chance."""
    table = np.random.default_rng(7).dirichlet(np.full(WORDS, 0.2), size=WORDS)
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        row = [int(rng.integers(WORDS))]
        while len(row) < LENGTH:
            row.append(int(rng.choice(WORDS, p=table[row[-1]])))
        rows.append([1, *(10 + word for word in row)])
    return rows


def write_tokens(folder: Path, rows: int) -> Tokens:
    with Tokens.write(folder) as draft:
        for seed, (split, count) in enumerate((("train", rows), ("validation", 40), ("test", 4))):
            made = [
                {
                    "id": f"{split}-{index}",
                    "input_ids": ids,
                    "labels": [IGNORED, *ids[1:]],
                    "length": len(ids),
                }
                for index, ids in enumerate(chains(count, seed))
            ]
            table = pa.Table.from_pylist(made, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": 2}
    return Tokens.open(folder)


def run(base: BaseModelFolder, tokens: Tokens, folder: Path, settings: TrainingSettings) -> Adapter:
    context = Context(root=folder, scratch=folder / "scratch")
    return train(base, tokens, settings, out=folder / "adapter", context=context)


def write_well_read(base: BaseModelFolder, folder: Path) -> Path:
    """Train `base` on many rows and return the folder below `folder` with the merged model."""
    settings = SETTINGS.model_copy(update={"num_train_epochs": 2})
    adapter = run(base, write_tokens(folder / "many", 400), folder, settings)
    model, tokenizer = load_merged(base.model, adapter.model)
    model.save_pretrained(folder / PLACE)
    tokenizer.save_pretrained(folder / PLACE)
    return folder / PLACE


def fetch_random(folder: Path, **changes: Any) -> BaseModelFolder:
    """Return a random base in `folder`, with whatever else the recipe's `model` says."""
    source = RandomModel.model_validate({"kind": "random", **changes})
    return fetch(source, out=folder / "base", context=Context(folder, folder))
