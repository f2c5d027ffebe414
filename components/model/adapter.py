"""Putting an adapter on a base (or none, to train it all), and writing what was trained."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.artefacts import write_json
from components.contracts.errors import ModelError
from components.contracts.task_types import CAUSAL_LM
from components.model import full, pissa
from components.model.quantized import hush
from components.model.settings import LoraSettings
from components.model.targets import linear_names, target_modules, top_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import PeftModel
    from transformers import PreTrainedModel


def attach_adapter(
    model: "PreTrainedModel",
    settings: LoraSettings,
    task_type: str | None = CAUSAL_LM,
    modules_to_save: "Sequence[str]" = (),
) -> "PeftModel":
    """Freeze `model` and put a fresh adapter on it; adapter weights are fp32.

    `task_type` is peft's (None for what it has no class of its own for).
    `modules_to_save` are trained whole and saved beside the adapter. With `finetuning_type: full`
    the model itself comes back, all its weights trainable.

    Raises:
        ModelError: a name in `lora_target_modules` matches no linear layer.
    """
    if settings.full:
        return full.train_all(model)
    hush()
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=target_modules(model, settings),
        layers_to_transform=top_layers(model, settings.lora_top_layers),
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        init_lora_weights=settings.init_lora_weights,
        bias="none",
        task_type=task_type,
        modules_to_save=list(modules_to_save) or None,
    )
    try:
        with warnings.catch_warnings():
            # peft sets it itself for GPT-2's layers, layer by layer, and says so each time.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"lora_target_modules {settings.lora_target_modules} does not fit this model: {error}",
            fix=f"use all-linear, or some of: {', '.join(linear_names(model))}",
        ) from error
    if settings.pissa:
        pissa.keep_initial(adapted)
    return adapted


def save_adapter(model: Any, folder: Path, base_name: str) -> None:
    """Write a standard peft folder whose bytes depend on weights and settings alone.

    It fits the base as it was before training, also after PiSSA. Where every weight was trained, a
    transformers model folder is written instead. `base_name` is what `base_model_name_or_path` will
    say: peft writes the absolute path of the base there, and sets in the order of their hashes;
    both are put right here.
    """
    if not hasattr(model, "peft_config"):
        full.save_full(model, folder)
        return
    if hasattr(model, pissa.INITIAL):
        pissa.save_as_lora(model, folder)
    else:
        model.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_name
    for key in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(file, config)
