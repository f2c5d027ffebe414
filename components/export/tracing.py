"""A torch module as an ONNX file, by PyTorch's own exporter."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.contracts.onnx_weights import GRAPH
from components.export.hushed import hushed

if TYPE_CHECKING:
    import torch

OPSET = 21
FILE = GRAPH
SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Traced:
    """What is exported: a module, its inputs by name with an example each, its outputs' names.

    `axes` names the axes of an input that have any length: {"input_ids": {0: "batch"}}. Inputs go
    to the module's forward as one list of tensors, in this order. No example has an axis of length
    0 or 1: torch would take that for its only length.
    """

    module: "torch.nn.Module"
    inputs: "Mapping[str, torch.Tensor]"
    axes: Mapping[str, Mapping[int, str]]
    outputs: Sequence[str]


def trace(traced: Traced, file: Path) -> None:
    """Write the graph of a module to `file`, its weights beside it.

    A product with weights carries the name of the module that it comes from. Nothing of the place
    and the time of the export is left in the file. Raises `ModelError` with the exporter's words
    where it cannot follow the model.
    """
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    names = sorted({name for axes in traced.axes.values() for name in axes.values()})
    lengths = {name: torch.export.Dim(name) for name in names}
    shapes = [{at: lengths[n] for at, n in traced.axes[key].items()} for key in traced.inputs]
    try:
        with hushed(io.StringIO()), torch.no_grad():
            program = torch.onnx.export(
                traced.module.eval(),
                (list(traced.inputs.values()),),
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(traced.inputs),
                output_names=list(traced.outputs),
                opset_version=OPSET,
                verbose=False,
            )
            assert program is not None
            program.save(str(file), external_data=True)
    # Its errors share no parent but Exception, and each means that this model is beyond it.
    except Exception as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"the model cannot be written as an ONNX graph: {words[0]}",
            fix="use a base model of a family that docs/training.md says is exported",
        ) from error
    settle(file)


def settle(file: Path) -> None:
    """Name the products of weights by their modules, and take out what tells of this machine."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    graph = model.graph
    split_products(graph)
    weights = weight_products(graph)
    taken: set[str] = set()
    for node in graph.node:
        path = module_of(node)
        if node.name in weights and path and path not in taken:
            taken.add(path)
            node.name = path
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for holder in (model, graph):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    file.write_bytes(model.SerializeToString(deterministic=True))


def split_products(graph: Any) -> None:
    """Make a product and a sum of every `Gemm` with a weight: the quantiser knows products only.

    The exporter writes one where a module gets a matrix, and a product where it gets a batch.
    """
    from onnx import helper

    constant = {value.name for value in graph.initializer}
    nodes = []
    for node in graph.node:
        how = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = not how.get("transA") and how.get("alpha", 1.0) == how.get("beta", 1.0) == 1.0
        if node.op_type != "Gemm" or node.input[1] not in constant or not plain:
            nodes.append(node)
            continue
        left, weight, *bias = node.input
        if how.get("transB"):
            turned = f"{node.name}_turned"
            nodes.append(helper.make_node("Transpose", [weight], [turned], turned, perm=[1, 0]))
            weight = turned
        out = f"{node.name}_product" if bias else node.output[0]
        product = helper.make_node("MatMul", [left, weight], [out], node.name)
        product.metadata_props.extend(node.metadata_props)
        nodes.append(product)
        if bias:
            nodes.append(helper.make_node("Add", [out, *bias], node.output, f"{node.name}_sum"))
    del graph.node[:]
    graph.node.extend(nodes)


def weight_products(graph: Any) -> set[str]:
    """Return the names of the products whose right side is a weight, or one turned round."""
    constant = {value.name for value in graph.initializer}
    turned = {
        node.output[0]
        for node in graph.node
        if node.op_type == "Transpose" and node.input[0] in constant
    }
    return {
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in constant | turned
    }


def module_of(node: Any) -> str:
    """Return the path of the torch module that a node was made by, without that of the wrapper."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = re.findall(r"'([^']*)'", entry.value)
            return scopes[-2].partition(".")[2] if len(scopes) > 1 else ""
    return ""
