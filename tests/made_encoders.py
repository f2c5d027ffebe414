"""Tiny encoders with random weights of many families, as base artefacts, and labelled tokens."""

import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED, tokens_schema
from components.contracts.task_types import SEQ_CLS
from components.sources.fetch import fetch
from components.sources.settings import RandomModel

VOCABULARY = 261
LABELS = ["good", "fair", "poor"]
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "albert": SIZES | {"embedding_size": 16, "max_position_embeddings": 64},
    "bert": SIZES,
    "distilbert": SIZES | {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
    "electra": SIZES | {"embedding_size": 16},
    "roberta": SIZES | {"pad_token_id": 1, "max_position_embeddings": 66},
    "xlm-roberta": SIZES | {"pad_token_id": 1, "max_position_embeddings": 66},
}


def random_bert(folder: Path) -> BaseModelFolder:
    """Fetch a random BERT into `folder`."""
    settings = RandomModel(
        kind="random", architecture="bert", task_type=SEQ_CLS, max_position_embeddings=64
    )
    return fetch(settings, out=folder, context=Context(folder.parent, folder.parent))


def write_encoder(family: str, folder: Path, tokenizer_of: BaseModelFolder) -> BaseModelFolder:
    """Write a base artefact with a random encoder without a head."""
    import torch
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**ENCODERS[family], initializer_range=0.2)
    model = AutoModel.from_config(config)
    with BaseModelFolder.write(folder) as draft:
        model.save_pretrained(draft.folder / "model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tokenizer_of.model / name, draft.folder / "model" / name)
        draft.facts = {"title": f"random {family}", "task_type": SEQ_CLS}
    return BaseModelFolder.open(folder)


def labelled_tokens(folder: Path) -> Tokens:
    """Write token rows whose label their second token tells."""
    with Tokens.write(folder) as draft:
        for split, count in (("train", 60), ("validation", 12), ("test", 21)):
            rows = [labelled_row(split, index) for index in range(count)]
            table = pa.Table.from_pylist(rows, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"labels": LABELS}
    return Tokens.open(folder)


def labelled_row(split: str, index: int) -> dict[str, Any]:
    """Return one row of the tokens table, the same for the same split and index."""
    rng = random.Random(f"labels/{split}/{index}")
    target = index % 3
    text = [rng.randrange(20, 250) for _ in range(rng.randrange(2, 12))]
    ids = [1, 10 + target, *text, 2]
    return {
        "id": f"{split}-{index}",
        "input_ids": ids,
        "labels": [IGNORED] * len(ids),
        "length": len(ids),
        "prompt_tokens": len(ids),
        "answer_ids": [],
        "rejected_ids": [],
        "choice_ids": [],
        "target": target,
        "text_ids": [],
        "text_bytes": 0,
        "answer_spans": [],
        "answers": 0,
        "trained_answers": 0,
        "trained_tokens": 1,
        "truncated_tokens": 0,
        "eos_trained": False,
        "bos_doubled": False,
    }
