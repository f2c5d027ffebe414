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
        target_modules=settings.lora_target_modules,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        names = sorted({n.rpartition(".")[2] for n, m in model.named_modules() if is_linear(m)})
        raise ModelError(
            f"lora_target_modules {settings.lora_target_modules} does not fit this model: {error}",
            fix=f"use all-linear, or some of: {', '.join(names)}",
        ) from error


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
