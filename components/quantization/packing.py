"""Rounded weights as the tensors of ONNX Runtime's `MatMulNBits`, and back.

Codes are [outputs, blocks, block · bits / 8] bytes, of four bits the earlier input in the lower
half. Zero points are packed alike for each output: [outputs, ⌈blocks · bits / 8⌉].
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from components.quantization.grid import Rounded

Bytes = NDArray[np.uint8]


def pack(rounded: "Rounded") -> tuple[Bytes, NDArray[np.float32], Bytes]:
    """Return codes, scales [outputs, blocks] and zero points as `MatMulNBits` reads them."""
    grid = rounded.grid
    outputs, blocks = grid.scales.shape
    codes = np.zeros((outputs, blocks * grid.block), np.uint8)
    codes[:, : rounded.codes.shape[1]] = as_bytes(rounded.codes)
    zeros = packed(as_bytes(grid.zeros), grid.bits)
    whole = packed(codes, grid.bits).reshape(outputs, blocks, grid.block * grid.bits // 8)
    return whole, grid.scales.numpy().astype(np.float32), zeros


def unpack(
    codes: NDArray[Any],
    scales: NDArray[Any],
    zeros: NDArray[Any] | None,
    inputs: int,
    bits: int,
    block: int,
) -> NDArray[np.float32]:
    """Return the weight [outputs, inputs] that `MatMulNBits` computes with.

    Without zero points they are the middle of the range.
    """
    outputs, blocks = codes.shape[0], -(-inputs // block)
    whole = unpacked(codes.reshape(outputs, -1), bits).reshape(outputs, blocks, block)
    steps = scales.reshape(outputs, blocks, 1).astype(np.float32)
    middle: Any = 1 << (bits - 1)
    if zeros is not None:
        middle = unpacked(zeros.reshape(outputs, -1), bits)[:, :blocks, None].astype(np.float32)
    values = (whole.astype(np.float32) - middle) * steps
    return np.ascontiguousarray(values.reshape(outputs, -1)[:, :inputs])


def packed(values: Bytes, bits: int) -> Bytes:
    """Return rows of small integers with as many in a byte as go in."""
    if bits == 8:
        return np.ascontiguousarray(values)
    filled = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return np.ascontiguousarray(filled[:, ::2] | filled[:, 1::2] << 4)


def unpacked(values: NDArray[Any], bits: int) -> Bytes:
    """Return rows of small integers, one a byte."""
    if bits == 8:
        return np.asarray(values, np.uint8)
    halves = np.stack([values & 0x0F, values >> 4], axis=-1)
    return np.asarray(halves.reshape(len(values), -1), np.uint8)


def as_bytes(values: "torch.Tensor") -> Bytes:
    """Return whole numbers of 0 … 255 as bytes."""
    import torch

    return np.asarray(values.to(torch.uint8).numpy())
