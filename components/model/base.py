"""Loading a base model from its artefact: plain, or quantised for QLoRA."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
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
            asked for and bitsandbytes is not installed.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    if quantized is not None and quantized.wanted:
        options["quantization_config"] = quantization_config(quantized, dtype)
        options["device_map"] = {"": device}
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no causal language model: {error}") from error
    if "device_map" not in options:
        model = model.to(device)
    else:
        keep_cpu_layers_trainable(model)
    model.config.use_cache = False
    return model


def quantization_config(settings: QuantizedLoading, dtype: "torch.dtype") -> Any:
    """Return the transformers configuration for bitsandbytes 4-bit or 8-bit loading."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise ModelError(
            "load_in_4bit / load_in_8bit need bitsandbytes, which is not installed",
            fix="pip install -c constraints.txt bitsandbytes, or set both to false",
        )
    if settings.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=settings.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_cpu_layers_trainable(model: "torch.nn.Module") -> None:
    """Stop bitsandbytes from repacking 4-bit layers in place on CPU.

    Any forward in eval mode repacks them for AVX512-BF16, after which adapters on top receive no
    gradient in silence.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - unknown to typing
