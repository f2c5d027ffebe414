"""A graph that was changed, written over its own file: only the weights that it still reads."""

from pathlib import Path
from typing import Any

from components.contracts.onnx_weights import WEIGHTS, place_of
from components.export.tracing import FILE
from components.export.weights_file import write_weights

SMALLEST = 1024
"""Bytes of a tensor that goes into the file of weights; smaller ones stay in the graph."""


def rewrite(model: Any, folder: Path) -> None:
    """Write `model` to `folder`, whose weights file it was loaded without.

    Tensors that nobody reads go. Bytes that several tensors share are stored once.
    """
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    for tensor in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(tensor)
    old = {place[0] for place in map(place_of, graph.initializer) if place is not None}
    write_weights(graph, folder, min(old, default=WEIGHTS), SMALLEST)
    (folder / FILE).write_bytes(model.SerializeToString(deterministic=True))
