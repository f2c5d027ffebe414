"""A tiny T5 with random weights as a base artefact, token rows for it, and a random adapter."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx, Tokens
from components.contracts.tables import IGNORED, tokens_schema
from components.contracts.task_types import SEQ_2_SEQ_LM
from components.sources.fetch import fetch
from components.sources.settings import RandomModel

EOS = 1
Exported = tuple[BaseModelFolder, Adapter, Onnx]
COUNTS = {"train": 60, "validation": 12, "test": 15}


def random_t5(folder: Path, *, tied: bool = True) -> BaseModelFolder:
    """Fetch a random T5 into `folder`: of the first kind, or (not tied) as T5 v1.1."""
    settings = RandomModel(
        kind="random",
        architecture="t5",
        task_type=SEQ_2_SEQ_LM,
        hidden_size=32,
        intermediate_size=64,
        tie_word_embeddings=tied,
    )
    return fetch(settings, out=folder, context=Context(folder.parent, folder.parent))


def pair_tokens(folder: Path) -> Tokens:
    """Write token rows: the target is the source's first token, three times."""
    with Tokens.write(folder) as draft:
        for split, count in COUNTS.items():
            rows = [pair_row(split, index) for index in range(count)]
            table = pa.Table.from_pylist(rows, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"rendered": "plain text"}
    return Tokens.open(folder)


def pair_row(split: str, index: int) -> dict[str, Any]:
    """Return one row of the tokens table, the same for the same split and index."""
    rng = random.Random(f"pairs/{split}/{index}")
    first = rng.randrange(10, 13)
    source = [first, *(rng.randrange(20, 250) for _ in range(rng.randrange(1, 12))), EOS]
    target = [first] * rng.randrange(2, 5) + [EOS]
    ids = source + target
    return {
        "id": f"{split}-{index}",
        "input_ids": ids,
        "labels": [IGNORED] * len(source) + target,
        "length": len(ids),
        "prompt_tokens": len(source),
        "answer_ids": target,
        "rejected_ids": [],
        "choice_ids": [],
        "target": -1,
        "text_ids": [],
        "text_bytes": 0,
        "answer_spans": [len(source), len(ids)],
        "answers": 1,
        "trained_answers": 1,
        "trained_tokens": len(target),
        "truncated_tokens": 0,
        "eos_trained": True,
        "bos_doubled": False,
    }


def random_of(family: str, folder: Path) -> BaseModelFolder:
    """Write a base artefact of another family (mt5, umt5), with random weights."""
    import torch
    from transformers import AutoModelForSeq2SeqLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    tokenizer_of = random_t5(folder.with_name("tokenizer"))
    told = json.loads((tokenizer_of.model / "config.json").read_text(encoding="utf-8"))
    own = {"model_type", "architectures", "tie_word_embeddings", "feed_forward_proj", "dtype"}
    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](**{k: v for k, v in told.items() if k not in own})
    with BaseModelFolder.write(folder) as draft:
        AutoModelForSeq2SeqLM.from_config(config).save_pretrained(draft.folder / "model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tokenizer_of.model / name, draft.folder / "model" / name)
        draft.facts = {"title": f"random {family}", "task_type": SEQ_2_SEQ_LM}
    return BaseModelFolder.open(folder)


def write_seq2seq(folder: Path, kind: str = "t5") -> Exported:
    """Write a base, an adapter with random weights, and their export.

    `kind` is t5, t5-v1.1, mt5 or umt5.
    """
    from components.export.export import export
    from components.export.settings import ExportSettings

    if kind.startswith("t5"):
        base = random_t5(folder / "base", tied=kind == "t5")
    else:
        base = random_of(kind, folder / "base")
    adapter = random_seq2seq_adapter(base, folder / "adapter")
    settings = ExportSettings(variants=("fp32", "int8", "int4"))
    context = Context(folder, folder / "scratch")
    return base, adapter, export(base, adapter, settings, out=folder / "onnx", context=context)


def random_seq2seq_adapter(base: BaseModelFolder, out: Path) -> Adapter:
    """Write an adapter with random weights, so that merging changes the model."""
    import torch

    from components.model.adapter import attach_adapter, save_adapter
    from components.model.seq2seq import load_seq2seq
    from components.model.settings import LoraSettings

    torch.manual_seed(1)
    tuned = attach_adapter(load_seq2seq(base.model), LoraSettings(lora_r=4), SEQ_2_SEQ_LM)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            # More would saturate T5's attention, which divides by nothing.
            torch.nn.init.normal_(weight, std=0.04)
    with Adapter.write(out) as draft:
        save_adapter(tuned, draft.folder / "model", "random")
        draft.facts = {"task_type": SEQ_2_SEQ_LM}
    return Adapter.open(out)
