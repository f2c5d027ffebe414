"""Tiny masked-language models with random weights, token rows for them, a random adapter."""

import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from made_encoders import ENCODERS, VOCABULARY

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.tables import tokens_schema
from components.contracts.task_types import MASKED_LM
from components.sources.fetch import fetch
from components.sources.settings import RandomModel

CLS, SEP, MASK = 1, 2, 3
SPECIAL = [0, 1, 2, 3, 4]
COUNTS = {"train": 60, "validation": 12, "test": 21}


def random_masked(folder: Path) -> BaseModelFolder:
    """Fetch a random BERT with its masked-language head into `folder`."""
    settings = RandomModel(
        kind="random",
        architecture="bert",
        task_type=MASKED_LM,
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    return fetch(settings, out=folder, context=Context(folder.parent, folder.parent))


def write_masked(family: str, folder: Path, tokenizer_of: BaseModelFolder) -> BaseModelFolder:
    """Write a base artefact with a random encoder of a family and its head."""
    import torch
    from transformers import AutoModelForMaskedLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**ENCODERS[family], initializer_range=0.2)
    with BaseModelFolder.write(folder) as draft:
        AutoModelForMaskedLM.from_config(config).save_pretrained(draft.folder / "model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tokenizer_of.model / name, draft.folder / "model" / name)
        draft.facts = {"title": f"random {family}", "task_type": MASKED_LM}
    return BaseModelFolder.open(folder)


def text_tokens(folder: Path) -> Tokens:
    """Write token rows in which every token comes three times in a row."""
    with Tokens.write(folder) as draft:
        for split, count in COUNTS.items():
            rows = [text_row(split, index) for index in range(count)]
            table = pa.Table.from_pylist(rows, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {
            "mask_token": MASK,
            "special_tokens": SPECIAL,
            "vocabulary_size": VOCABULARY,
        }
    return Tokens.open(folder)


def text_row(split: str, index: int) -> dict[str, Any]:
    """Return one row of the tokens table, the same for the same split and index."""
    rng = random.Random(f"texts/{split}/{index}")
    text = [token for _ in range(rng.randrange(1, 8)) for token in 3 * [rng.randrange(20, 30)]]
    ids = [CLS, *text, SEP]
    return {
        "id": f"{split}-{index}",
        "input_ids": ids,
        "labels": [token if token in text else -100 for token in ids],
        "length": len(ids),
        "prompt_tokens": 0,
        "answer_ids": [],
        "rejected_ids": [],
        "choice_ids": [],
        "target": -1,
        "text_ids": ids if split != "train" else [],
        "text_bytes": len(text),
        "answer_spans": [],
        "answers": 0,
        "trained_answers": 0,
        "trained_tokens": len(text),
        "truncated_tokens": 0,
        "eos_trained": False,
        "bos_doubled": False,
    }


def random_masked_adapter(base: BaseModelFolder, out: Path) -> Adapter:
    """Write an adapter with random weights, so that merging changes the model."""
    import torch

    from components.model.adapter import attach_adapter, save_adapter
    from components.model.masked import load_masked
    from components.model.settings import LoraSettings

    torch.manual_seed(1)
    tuned = attach_adapter(load_masked(base.model), LoraSettings(lora_r=4), None)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    with Adapter.write(out) as draft:
        save_adapter(tuned, draft.folder / "model", "random")
        draft.facts = {"task_type": MASKED_LM}
    return Adapter.open(out)
