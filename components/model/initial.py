"""Going on from an adapter that was trained before, in place of a fresh one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.model.settings import LoraSettings

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def read_config(folder: Path) -> dict[str, Any]:
    """Return a peft folder's configuration; raise `ModelError` unless the folder is whole."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"training.adapter_name_or_path: {folder} has no {' and no '.join(missing)}",
            fix="name a folder that peft has saved, or set it to null for a fresh adapter",
        )
    return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))


def misfits(config: Mapping[str, Any], settings: LoraSettings) -> list[str]:
    """Return in what an adapter is of another shape than the settings ask for; empty if it fits."""
    wanted = {
        "r": settings.lora_r,
        "lora_alpha": settings.lora_alpha,
        "use_rslora": settings.use_rslora,
        "use_dora": settings.use_dora,
    }
    return [
        f"{name} is {config.get(name)} there and {value} here"
        for name, value in wanted.items()
        if config.get(name) != value
    ]


def go_on_from(adapted: Any, folder: Path, settings: LoraSettings) -> None:
    """Give a fresh adapter on a base the weights of the one in `folder`.

    Raises `ModelError` if it is of another shape, or adapts other layers.
    """
    from peft import load_peft_weights, set_peft_model_state_dict

    differences = misfits(read_config(folder), settings)
    if differences:
        raise _other(folder, "; ".join(differences))
    weights = load_peft_weights(str(folder), device="cpu")
    try:
        result = set_peft_model_state_dict(adapted, weights)
    except RuntimeError as error:  # torch's words for a wrong shape
        raise _other(folder, str(error)) from error
    strange = list(result.unexpected_keys)
    left = [name for name in result.missing_keys if "lora_" in name or "modules_to_save" in name]
    if strange or left:
        first = (strange or left)[0]
        raise _other(folder, f"they do not adapt the same layers (first: {first})")


def _other(folder: Path, how: str) -> ModelError:
    return ModelError(
        f"training.adapter_name_or_path: the adapter in {folder} does not fit: {how}",
        fix="give the recipe the shape that it has (lora_r, lora_alpha …), or set it to null",
    )
