"""Logits of the last tokens alone, where a reader asks for no more than those.

The head is a fifth of a small model's work, and reading a prompt needs it at one place only. The
graph gets one more input that nobody has to give: `num_logits_to_keep`, in the words of
transformers. Its default, 0, keeps the logits of every token.
"""

from pathlib import Path
from typing import Any

NAME = "num_logits_to_keep"
HEADS = {"MatMul", "MatMulNBits", "Gemm", "FusedMatMul"}
BEHIND = {"Add", "Cast", "Div", "Identity", "Mul", "Tanh"}
"""What may stand between the head's product and the logits (a bias, a soft cap, a type)."""

TO_THE_END = 2**63 - 1


def let_readers_keep_fewer(file: Path) -> bool:
    """Give the graph in `file` the input `num_logits_to_keep`; return whether its head was found.

    The hidden states [batch, n, width] before the head lose all but their last places.
    """
    import onnx

    model = onnx.load(file, load_external_data=False)
    head = head_of(model.graph)
    if head is None:
        return False
    if NAME not in {value.name for value in model.graph.input}:
        _cut(model.graph, head)
        file.write_bytes(model.SerializeToString(deterministic=True))
    return True


def head_of(graph: Any) -> Any | None:
    """Return the node of the product that makes the logits, or None where it is not seen."""
    makers = {output: node for node in graph.node for output in node.output}
    node = makers.get("logits")
    while node is not None and node.op_type in BEHIND:
        node = next((makers[name] for name in node.input if name in makers), None)
    return node if node is not None and node.op_type in HEADS else None


def _cut(graph: Any, head: Any) -> None:
    """Put a slice of the last places before `head`."""
    from onnx import TensorProto, helper

    whole, prefix = head.input[0], f"/{NAME}"
    constants = {"axis": [1], "end": [TO_THE_END], "front": [0]}
    graph.input.append(helper.make_tensor_value_info(NAME, TensorProto.INT64, []))
    graph.initializer.append(helper.make_tensor(NAME, TensorProto.INT64, [], [0]))
    for name, values in constants.items():
        graph.initializer.append(
            helper.make_tensor(f"{prefix}/{name}", TensorProto.INT64, [1], values)
        )
    slicing = [
        helper.make_node("Neg", [NAME], [f"{prefix}/back"], f"{prefix}/Neg"),
        helper.make_node(
            "Unsqueeze", [f"{prefix}/back", f"{prefix}/front"], [f"{prefix}/start"],
            f"{prefix}/Unsqueeze",
        ),
        helper.make_node(
            "Slice",
            [whole, f"{prefix}/start", f"{prefix}/end", f"{prefix}/axis"],
            [f"{prefix}/kept"],
            f"{prefix}/Slice",
        ),
    ]  # fmt: skip
    place = list(graph.node).index(head)
    head.input[0] = f"{prefix}/kept"
    nodes = [*graph.node[:place], *slicing, *graph.node[place:]]
    del graph.node[:]
    graph.node.extend(nodes)
