"""Pairs of answers for the tiny model, and a model whose adapter is not at its start."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.training.settings import TrainingSettings
from components.training.train import prepare

CPU = torch.device("cpu")
EOS = 2
SETTINGS = TrainingSettings(
    loss_type="sigmoid",
    beta=0.5,
    learning_rate=1e-2,
    warmup_steps=2,
    num_train_epochs=3,
    per_device_train_batch_size=6,
    gradient_accumulation_steps=2,
    eval_steps=4,
    save_steps=3,
    bf16=False,
)


def pair_row(split: str, index: int) -> dict[str, object]:
    """Return one pair: the better answer repeats the prompt's last token, the worse one does not.

    Lengths differ, between rows and between the answers of one.
    """
    rng = np.random.default_rng([index, len(split)])
    word = 60 + index % 2
    prompt = [1, 40, 41, *rng.integers(10, 50, 2 + index % 5).tolist(), word]
    chosen, rejected = [word, 80, EOS], [121 - word, *[81] * (index % 3), EOS]
    return {
        "id": f"{split}-{index}",
        "input_ids": prompt + chosen,
        "labels": [IGNORED] * len(prompt) + chosen,
        "length": len(prompt) + 3,
        "prompt_tokens": len(prompt),
        "answer_ids": chosen,
        "rejected_ids": rejected,
        "target": -1,
    }


def adapted(base: BaseModelFolder, tokens: Tokens, tmp_path: Path, **changes: object) -> Any:
    """Return the trainer's model with an adapter whose B is not zero, the same every time."""
    settings = SETTINGS.model_copy(update=changes)
    scratch = tmp_path / "-".join(["scratch", *map(str, changes.values())])
    trainer = prepare(base, tokens, settings, Context(root=tmp_path, scratch=scratch))
    torch.manual_seed(3)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return trainer.model
