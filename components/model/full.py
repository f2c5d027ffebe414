"""Full fine-tuning: every weight trained, and the tuned model written as a transformers folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.artefacts import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PLACES = ("_name_or_path", "name_or_path")


def train_all(model: "PreTrainedModel") -> "PreTrainedModel":
    """Make every weight trainable."""
    return model.requires_grad_(True)


def bare(model: Any) -> Any:
    """Return the transformers model inside a peft one, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def save_full(model: "PreTrainedModel", folder: Path) -> None:
    """Write weights and configuration in fp32; the tokenizer is the base's and stays there."""
    cache, model.config.use_cache = model.config.use_cache, True
    try:
        model.save_pretrained(folder)
    finally:
        model.config.use_cache = cache
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {key: value for key, value in config.items() if key not in PLACES})


def is_full(folder: Path) -> bool:
    """Say whether a folder holds a whole tuned model and not an adapter."""
    return (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()
