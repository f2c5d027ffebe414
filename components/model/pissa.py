"""PiSSA: an adapter that starts as the principal components of the weights it adapts.

Meng, Wang & Zhang 2024 (arXiv:2404.02948): W = W_res + s·B₀A₀ by singular values, W_res frozen. The
base under training is therefore not the original one. What is saved is a plain LoRA of twice the
rank that fits the original base: W + s·(BA - B₀A₀) = W + s·[B, -B₀]·[A; A₀].
"""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

INITIAL = "tuneline_initial_adapter"
"""Attribute of a peft model that holds A₀ and B₀ by their names in the saved file."""


def keep_initial(model: "PeftModel") -> None:
    """Remember the weights of a fresh adapter; call it before the first step."""
    setattr(model, INITIAL, {name: w.detach().clone() for name, w in weights(model).items()})


def weights(model: "PeftModel") -> "dict[str, torch.Tensor]":
    """Return the adapter's weights by their names in the saved file."""
    from peft import get_peft_model_state_dict

    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model)
    return found


def save_as_lora(model: "PeftModel", folder: Path) -> None:
    """Write the adapter as a plain LoRA on the original base (peft's two files).

    DoRA's magnitudes are written as they are: they scale W + ΔW, which is the same either way.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(as_lora(model), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    as_lora_config(model.peft_config["default"]).save_pretrained(folder)


def as_lora(model: "PeftModel") -> "dict[str, torch.Tensor]":
    """Return the weights of the LoRA of twice the rank."""
    import torch

    initial: dict[str, torch.Tensor] = getattr(model, INITIAL)
    found: dict[str, torch.Tensor] = {}
    for name, weight in weights(model).items():
        weight = weight.detach().cpu()
        if "lora_A" in name:
            weight = torch.cat([weight, initial[name].cpu()], dim=0)
        elif "lora_B" in name:
            weight = torch.cat([weight, -initial[name].cpu()], dim=1)
        found[name] = weight.contiguous()
    return found


def as_lora_config(config: "LoraConfig") -> "LoraConfig":
    """Return the configuration of the LoRA of twice the rank: its scale s stays what it was."""
    plain = deepcopy(config)
    plain.r = 2 * config.r
    plain.lora_alpha = config.lora_alpha * (2**0.5 if config.use_rslora else 2)
    plain.init_lora_weights = True
    plain.inference_mode = True
    return plain
