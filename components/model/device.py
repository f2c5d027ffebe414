"""What the machine can do, asked of torch rather than assumed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pick_device() -> "torch.device":
    """Return CUDA where a device answers, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_dtype(device: "torch.device") -> "torch.dtype":
    """Return bf16 where the device multiplies it natively, else fp32.

    On CPU that means AVX512-BF16 or AMX: elsewhere bf16 is emulated and slower than fp32.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capable = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if capable and _cpu_multiplies_bf16() else torch.float32


def _cpu_multiplies_bf16() -> bool:
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
