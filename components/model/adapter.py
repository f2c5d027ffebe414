"""Putting a LoRA adapter on a base, and writing it as a standard peft folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.artefacts import write_json
from components.contracts.errors import ModelError
from components.model.settings import LoraSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def attach_adapter(model: "PreTrainedModel", settings: LoraSettings) -> "PeftModel":
    """Freeze `model` and put a fresh adapter on it; adapter weights are fp32.

    Raises:
        ModelError: a name in `lora_target_modules` matches no layer.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if settings.wanted:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=target_modules(model, settings),
        layers_to_transform=top_layers(model, settings.lora_top_layers),
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"lora_target_modules {settings.lora_target_modules} does not fit this model: {error}",
            fix=f"use all-linear, or some of: {', '.join(linear_names(model))}",
        ) from error


def target_modules(model: "PreTrainedModel", settings: LoraSettings) -> str | list[str]:
    """Return what peft is to adapt; it takes a choice of blocks only with layers named."""
    if settings.lora_target_modules == "all-linear" and settings.lora_top_layers:
        return linear_names(model)
    return settings.lora_target_modules


def linear_names(model: "PreTrainedModel") -> list[str]:
    """Return the names of the linear layers, without the output head."""
    head = model.get_output_embeddings()
    linear = (name for name, m in model.named_modules() if is_linear(m) and m is not head)
    return sorted({name.rpartition(".")[2] for name in linear})


def top_layers(model: "PreTrainedModel", count: int | None) -> list[int] | None:
    """Return the indices of the last `count` blocks, or `None` for all.

    Raises:
        ModelError: the model has fewer blocks.
    """
    if count is None:
        return None
    blocks = int(model.config.num_hidden_layers)
    if count > blocks:
        raise ModelError(
            f"training.lora_top_layers is {count}, but the model has {blocks} blocks",
            fix=f"use a number from 1 to {blocks}, or null for all",
        )
    return list(range(blocks - count, blocks))


def is_linear(module: Any) -> bool:
    """Say whether a module is a linear layer (quantised kinds are subclasses)."""
    import torch

    return isinstance(module, torch.nn.Linear)


def save_adapter(model: "PeftModel", folder: Path, base_name: str) -> None:
    """Write the adapter as a peft folder whose bytes depend on its weights and settings alone.

    peft writes sets in the order of their hashes and the absolute path of the base; both are put
    right here. `base_name` is what `base_model_name_or_path` will say.
    """
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_name
    for key in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(file, config)
