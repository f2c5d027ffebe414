"""Loading a base model from its artefact: plain, or quantised for QLoRA."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.model.quantized import keep_layers_trainable, quantization_config
from components.model.settings import QuantizedLoading

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_base(
    folder: Path,
    *,
    dtype: "torch.dtype",
    device: "torch.device",
    quantized: QuantizedLoading | None = None,
) -> "PreTrainedModel":
    """Load the causal model in `folder` onto `device`.

    Raises:
        ModelError: the folder holds no model that transformers can load, or 4/8-bit loading is
            asked for and cannot be done here.
    """
    from transformers import AutoModelForCausalLM

    # transformers takes SDPA where the family can, and plain attention for others (Gemma 2).
    options: dict[str, Any] = {"dtype": dtype}
    if quantized is not None and quantized.wanted:
        options["quantization_config"] = quantization_config(quantized, dtype, device)
        options["device_map"] = {"": device}
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no causal language model: {error}") from error
    if "device_map" not in options:
        model = model.to(device)
    else:
        keep_layers_trainable(model)
    model.config.use_cache = False
    return model
