"""A graph that was changed, written over its own file: only the weights that it still reads."""

import hashlib
from pathlib import Path
from typing import Any

from components.contracts.onnx_weights import WEIGHTS, Place, place_of
from components.export.tracing import FILE
from components.export.weights_file import ALIGNMENT, put_at

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
    weights = min(old, default=WEIGHTS)
    temporary = folder / f".{weights}.tmp"
    placed: dict[bytes, int] = {}
    with temporary.open("wb") as stream:
        for tensor in graph.initializer:
            place = place_of(tensor)
            if place is None and len(tensor.raw_data) < SMALLEST:
                continue
            data = tensor.raw_data if place is None else read_at(folder, place)
            known = hashlib.sha256(data).digest()
            if known not in placed:
                stream.write(bytes(-stream.tell() % ALIGNMENT))
                placed[known] = stream.tell()
                stream.write(data)
            put_at(tensor, (weights, placed[known], len(data)))
    for name in old:
        (folder / name).unlink()
    temporary.rename(folder / weights)
    (folder / FILE).write_bytes(model.SerializeToString(deterministic=True))


def read_at(folder: Path, place: Place) -> bytes:
    """Return the bytes of a tensor."""
    name, offset, length = place
    with (folder / name).open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)
