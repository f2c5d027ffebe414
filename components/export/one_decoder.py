"""A decoder's two graphs, without and with a cache, as one file whose weights are there once.

The layout is that of optimum's `decoder_model_merged.onnx`: the input `use_cache_branch` says which
of the two runs, and the branch that goes on gives nothing for the keys of the source, which stay.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.export.tracing import FILE

SWITCH = "use_cache_branch"
SHARED_BYTES = 1024
"""Weights of so many bytes and more are shared by both branches; smaller constants stay inside."""


def merge_decoders(first: Path, following: Path, file: Path) -> None:
    """Write the graphs in the folders `first` and `following` to `file`, weights beside it."""
    import onnx
    from onnx import TensorProto, helper

    starts, goes_on = onnx.load(first / FILE), onnx.load(following / FILE)
    shared: dict[str, Any] = {}
    outputs = list(starts.graph.output)
    branches = [
        branch(goes_on.graph, "next", outputs, shared),
        branch(starts.graph, "first", outputs, shared),
    ]
    node = helper.make_node(
        "If",
        [SWITCH],
        [value.name for value in outputs],
        "decoder",
        then_branch=branches[0],
        else_branch=branches[1],
    )
    inputs = {value.name: value for value in (*starts.graph.input, *goes_on.graph.input)}
    switch = helper.make_tensor_value_info(SWITCH, TensorProto.BOOL, [1])
    graph = helper.make_graph(
        [node], "decoder", [*inputs.values(), switch], outputs, list(shared.values())
    )
    opsets = {one.domain: one for model in (starts, goes_on) for one in model.opset_import}
    merged = helper.make_model(graph, opset_imports=list(opsets.values()))
    merged.ir_version = max(starts.ir_version, goes_on.ir_version)
    merged.producer_name, merged.producer_version = starts.producer_name, starts.producer_version
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(merged, file, save_as_external_data=True, location=f"{file.name}_data")


def branch(graph: Any, name: str, outputs: list[Any], shared: dict[str, Any]) -> Any:
    """Return a graph as one side of the switch, with names of its own and every one of `outputs`.

    Its large weights go to `shared`, by their content.
    """
    from onnx import helper

    given = {value.name for value in graph.input}
    renamed: dict[str, str] = {"": ""}
    kept = []
    for tensor in graph.initializer:
        place = share(tensor, shared)
        renamed[tensor.name] = place or f"{name}/{tensor.name}"
        if not place:
            tensor.name = renamed[tensor.name]
            kept.append(tensor)
    for node in graph.node:
        rename(node, renamed, given, name)
    there = {value.name: value for value in graph.output}
    nodes, told = list(graph.node), []
    for value in outputs:
        if value.name not in there:
            nodes.append(nothing(value, f"{name}/{value.name}"))
        mine = type(value)()
        mine.CopyFrom(there.get(value.name, value))
        mine.name = f"{name}/{value.name}"
        told.append(mine)
    return helper.make_graph(nodes, name, [], told, kept)


def share(tensor: Any, shared: dict[str, Any]) -> str | None:
    """Put a large weight where both branches read it; return its name there."""
    if len(tensor.raw_data) < SHARED_BYTES:
        return None
    key = f"{tensor.data_type} {list(tensor.dims)}".encode() + tensor.raw_data
    digest = hashlib.sha256(key).hexdigest()
    if digest not in shared:
        names = {one.name for one in shared.values()}
        kept = type(tensor)()
        kept.CopyFrom(tensor)
        kept.name = tensor.name if tensor.name not in names else f"{tensor.name}.{digest[:8]}"
        shared[digest] = kept
    return str(shared[digest].name)


def rename(node: Any, renamed: Mapping[str, str], given: set[str], name: str) -> None:
    """Give what a node reads and writes the names that it has inside the branch `name`."""
    from onnx import AttributeProto

    def inside(value: str) -> str:
        return value if value in given else renamed.get(value, f"{name}/{value}")

    node.input[:] = [inside(value) for value in node.input]
    node.output[:] = [inside(value) for value in node.output]
    node.name = f"{name}/{node.name}"
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for one in attribute.g.node:
                rename(one, renamed, given, name)


def nothing(value: Any, name: str) -> Any:
    """Return a node that gives an empty tensor for the output `value`."""
    from onnx import helper

    shape = value.type.tensor_type
    dims = [axis.dim_value or (0 if at == 0 else 1) for at, axis in enumerate(shape.shape.dim)]
    empty = helper.make_tensor(f"{name}/nothing", shape.elem_type, dims, b"", raw=True)
    return helper.make_node("Constant", [], [name], name, value=empty)
