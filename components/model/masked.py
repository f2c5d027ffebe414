"""An encoder with its masked-language head, which says what token stands where one is hidden."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.model.classifier import without_report
from components.model.merge import load_merged

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_masked(folder: Path, *, device: "torch.device | None" = None) -> "PreTrainedModel":
    """Load the encoder in `folder` in fp32 with the masked-language head of its checkpoint.

    Raises `ModelError` if transformers cannot load it, or the checkpoint has no such head: one with
    random weights would have to learn the whole vocabulary from the rows.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    try:
        with without_report():
            model, info = AutoModelForMaskedLM.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no masked-language model: {error}") from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"]))
        raise ModelError(
            f"{type(model).__name__}: the checkpoint has no {missing}",
            fix="use a checkpoint that was saved with its masked-language head (…ForMaskedLM)",
        )
    return model if device is None else model.to(device)


def load_shapes_only(folder: Path, **_: Any) -> "PreTrainedModel":
    """Return the model in `folder` on the meta device; only its config is read."""
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            return AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no masked-language model: {error}") from error


def load_merged_masked(base: Path, adapter: Path) -> "tuple[PreTrainedModel, Any]":
    """Return (the tuned model in fp32 on the CPU, its tokenizer); see `load_merged`."""
    return load_merged(base, adapter, load_masked)
