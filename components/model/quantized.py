"""The frozen base in 4 or 8 bits through bitsandbytes (QLoRA: Dettmers et al., arXiv:2305.14314).

For training only: scoring and export merge the adapter into the full-precision base.
"""

import logging
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.model.settings import QuantizedLoading

if TYPE_CHECKING:
    import torch


def quantization_config(
    settings: QuantizedLoading, dtype: "torch.dtype", device: "torch.device"
) -> Any:
    """Return the transformers configuration for bitsandbytes 4-bit or 8-bit loading.

    Raises:
        ModelError: bitsandbytes cannot be used here, or the device lacks the compute dtype.
    """
    import torch
    from transformers import BitsAndBytesConfig

    need_bitsandbytes()
    if settings.load_in_8bit:
        return BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_threshold=float(settings.llm_int8_threshold)
        )
    name = settings.bnb_4bit_compute_dtype
    compute: torch.dtype = dtype if name is None else getattr(torch, name)
    need_compute_dtype(compute, device)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=settings.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=compute,
    )


def need_bitsandbytes() -> None:
    """Raise `ModelError` unless bitsandbytes is installed and can be imported."""
    hush()
    try:
        import bitsandbytes  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModelError(
            "load_in_4bit / load_in_8bit need bitsandbytes, which is not installed",
            fix="pip install -c constraints.txt bitsandbytes, or set both to false",
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            f"load_in_4bit / load_in_8bit need bitsandbytes, which cannot be loaded here: {error}",
            fix="install the build for this CUDA version, or set both to false",
        ) from error


def hush() -> None:
    """Keep bitsandbytes from warning, at import on CPU, that an optional kernel is not there.

    peft imports it wherever it is installed, 4 bits or not.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def need_compute_dtype(compute: "torch.dtype", device: "torch.device") -> None:
    """Raise `ModelError` if the GPU multiplies no bf16 and that is what the base computes in."""
    import torch

    if device.type == "cuda" and compute == torch.bfloat16 and not torch.cuda.is_bf16_supported():
        raise ModelError(
            f"{torch.cuda.get_device_name(device)} has no bf16 arithmetic, which the 4-bit base "
            "was asked to compute in",
            fix="set training.bnb_4bit_compute_dtype: float16 (or training.bf16: false)",
        )


def keep_layers_trainable(model: "torch.nn.Module") -> None:
    """Stop bitsandbytes from repacking 4-bit layers in place on CPU.

    Any forward in eval mode repacks them for AVX512-BF16, and the repacked product is made for
    inference: no gradient flows back through it. Adapters then learn from what reaches them past
    the base's layers alone, or nothing at all, in silence.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - unknown to typing
