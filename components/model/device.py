"""What the machine can do, asked of torch rather than assumed."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

KERNELS_KEPT = 64
"""Kernels oneDNN keeps: one forward and backward pass of a decoder uses 33 of like batches."""


def keep_few_kernels() -> None:
    """Bound the kernels that oneDNN keeps on CPU, unless the environment says how many.

    oneDNN compiles one a shape and keeps 1,024. Where every batch has a shape of its own, few of
    them are used twice, and those kept pin the heap: 0.8 GB over a run (docs/log.md).
    Call it before the first product: oneDNN reads the number once.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS_KEPT))


def pick_device() -> "torch.device":
    """Return CUDA where a device answers (the one that is this process's own), else the CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


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
