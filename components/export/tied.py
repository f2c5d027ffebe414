"""An embedding that is the head too, stored once: looked up in the head's own rounded weights."""

from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.onnx_weights import ROWS, Rounded, place_of, read_tensor, rounded_of
from components.export.weights_file import view_of

DOMAIN = "com.microsoft"
FLOATS = {1, 10}
"""float and float16 (onnx.TensorProto.DataType): what both kernels take as scales."""

LARGEST_MEAN_STEP = 1.0
"""Rounding is off by a quarter of a step on average; another matrix by dozens."""


def share_embedding(graph: Any, folder: Path) -> bool:
    """Look the embedding up in the head's rounded weights, if they are the same matrix.

    The lookup gets tensors of its own shape over the very same bytes, so that nothing is copied at
    load time. Returns whether it did: not where the embedding is another matrix, is looked up so
    already, or has rows that are no whole blocks.
    """
    named = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        table = named.get(node.input[0]) if node.op_type == "Gather" else None
        head = None if table is None else head_of(graph, named, table)
        if head is not None and is_rounded(folder, table, head):
            _look_up_in(graph, node, head)
            _drop_unread(graph, table)
            return True
    return False


def head_of(graph: Any, named: dict[str, Any], table: Any) -> Rounded | None:
    """Return the rounded product that has the shape of the lookup `table`, if there is one."""
    if len(table.dims) != 2 or table.data_type not in FLOATS or place_of(table) is None:
        return None
    for found in (rounded_of(node, named) for node in graph.node):
        if (
            found is not None
            and (found.outputs, found.inputs) == tuple(table.dims)
            and not found.inputs % found.block_size
            and found.scales.data_type == table.data_type
        ):
            return found
    return None


def is_rounded(folder: Path, table: Any, head: Rounded) -> bool:
    """Say whether the head holds the rows of `table`, rounded: both are read and compared."""
    whole = read_tensor(folder, table, (head.outputs, head.blocks, head.block_size))
    return all(
        np.abs(part.values - whole[part.start : part.start + ROWS]).mean(dtype=np.float64)
        <= LARGEST_MEAN_STEP * np.abs(part.step).mean(dtype=np.float64)
        for part in head.rows(folder)
    )


def _look_up_in(graph: Any, gather: Any, head: Rounded) -> None:
    from onnx import helper

    shapes = {
        "codes": (head.outputs, head.inputs * head.bits // 8),
        "scales": (head.outputs, head.blocks),
        "zero_points": (head.outputs, -(-head.blocks * head.bits // 8)),
    }
    tensors = {name: getattr(head, name) for name in shapes}
    names = [
        _shaped(graph, tensor, shapes[name])
        for name, tensor in tensors.items()
        if tensor is not None
    ]
    lookup = helper.make_node(
        "GatherBlockQuantized",
        [names[0], gather.input[1], *names[1:]],
        list(gather.output),
        f"{gather.name}BlockQuantized",
        domain=DOMAIN,
        bits=head.bits,
        block_size=head.block_size,
        gather_axis=0,
        quantize_axis=1,
    )
    gather.CopyFrom(lookup)


def _shaped(graph: Any, tensor: Any, shape: tuple[int, ...]) -> str:
    """Return the name of a tensor in `shape` over the same bytes; it may be the tensor itself."""
    if tuple(tensor.dims) == shape:
        return str(tensor.name)
    view = view_of(tensor, f"{tensor.name}_rows", shape)
    graph.initializer.append(view)
    return str(view.name)


def _drop_unread(graph: Any, tensor: Any) -> None:
    if not any(tensor.name in node.input for node in graph.node):
        graph.initializer.remove(tensor)
