"""The weights of an exported graph as numbers: where they lie, and what rounded ones stand for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRAPH, WEIGHTS = "model.onnx", "model.onnx_data"
"""Names of an exported graph and of its weights: what transformers.js and optimum look for."""

EXTERNAL, BYTES = 1, 2
"""`data_location` of a tensor outside the graph; the type uint8 (both of onnx.TensorProto)."""

ROWS = 4096
"""Rows that are turned into numbers at a time."""

Place = tuple[str, int, int]
"""File, offset and length in bytes."""


def place_of(tensor: Any) -> Place | None:
    """Return where a tensor lies outside the graph, or None where it is in it."""
    if tensor.data_location != EXTERNAL:
        return None
    told = {entry.key: entry.value for entry in tensor.external_data}
    return told["location"], int(told.get("offset", 0)), int(told["length"])


def read_tensor(folder: Path, tensor: Any, shape: tuple[int, ...]) -> "NDArray[Any]":
    """Return a tensor's values in `shape`; those outside the graph stay on the disk until read.

    What numpy has no type for (bfloat16) comes as its bits.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    place = place_of(tensor)
    if place is None:
        return np.asarray(numpy_helper.to_array(tensor)).reshape(shape)
    name, offset, length = place
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if kind.kind not in "iuf":
        kind = np.dtype(f"u{kind.itemsize}")
    values = np.memmap(folder / name, kind, "r", offset, (length // kind.itemsize,))
    return values.reshape(shape)


@dataclass(frozen=True)
class Rows:
    """Rows of a rounded product from row `start`, as numbers.

    `values` [rows, blocks, block_size]; by block [rows, blocks, 1] the `step` (which may be
    negative) and the values of the `first` and the `last` code: no weight of it is beyond them.
    """

    start: int
    values: "NDArray[np.float32]"
    step: "NDArray[np.float32]"
    first: "NDArray[np.float32]"
    last: "NDArray[np.float32]"


@dataclass(frozen=True)
class Rounded:
    """A product with rounded weights (the operator MatMulNBits), and its tensors.

    Codes [outputs, blocks, block_size · bits / 8], scales [outputs, blocks] and zero points, which
    may be missing (then they are the middle of the range). The last block of a row may be padded.
    """

    outputs: int
    inputs: int
    bits: int
    block_size: int
    codes: Any
    scales: Any
    zero_points: Any | None

    @property
    def blocks(self) -> int:
        return -(-self.inputs // self.block_size)

    def rows(self, folder: Path) -> "Iterator[Rows]":
        """Yield the product's rows, some thousands at a time; see `Rows`.

        A value is (code - zero point) · step; of four bits the lower half of a byte comes first.
        """
        import numpy as np

        width = self.block_size * self.bits // 8
        codes = read_tensor(folder, self.codes, (self.outputs, self.blocks, width))
        steps = read_tensor(folder, self.scales, (self.outputs, self.blocks))
        zero = self.zero_points
        zeros = None if zero is None else read_tensor(folder, zero, (self.outputs, -1))
        for start in range(0, self.outputs, ROWS):
            part = slice(start, start + ROWS)
            middle = np.full((1, 1, 1), 1 << (self.bits - 1), np.float32)
            if zeros is not None:
                middle = _unpacked(zeros[part], self.bits)[:, : self.blocks, None]
            step = steps[part].astype(np.float32)[..., None]
            values = (_unpacked(codes[part], self.bits) - middle) * step
            yield Rows(start, values, step, -middle * step, ((1 << self.bits) - 1 - middle) * step)


def rounded_of(node: Any, named: dict[str, Any]) -> Rounded | None:
    """Return a node's rounded product; None for another node, or weights that are not plain.

    Not plain are rows in another order, zero points that are no codes, or tensors of which
    `named`, the initialisers by name, knows nothing.
    """
    if node.op_type != "MatMulNBits" or any(node.input[4:5]):
        return None
    how = {one.name: one.i for one in node.attribute}
    codes, scales, *zeros = (named.get(name) for name in node.input[1:4] if name)
    plain = all(one is not None and one.data_type == BYTES for one in (codes, *zeros))
    if not plain or scales is None or how.get("bits", 4) not in (4, 8):
        return None
    zero = zeros[0] if zeros else None
    size = (how["N"], how["K"], how.get("bits", 4), how["block_size"])
    return Rounded(*size, codes, scales, zero)


def _unpacked(codes: "NDArray[Any]", bits: int) -> "NDArray[np.float32]":
    import numpy as np

    if bits == 8:
        return codes.astype(np.float32)
    halves = np.stack([codes & 0x0F, codes >> 4], axis=-1)
    return halves.reshape(*codes.shape[:-1], -1).astype(np.float32)
