"""What smoothing did to a file, seen in its norms: by how much each input of a product was scaled.

Factors are powers of two, so a norm's weight is that of the fp32 file but for its exponent; a
flipped bit of the mantissa shows as no such factor, one of the exponent by the products behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.contracts.onnx_weights import read_tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.verification.weights import Graph

    Factors = NDArray[np.float32]

BETWEEN = {"Cast", "Flatten", "Identity", "Reshape"}
"""What may stand between a norm and a product, and changes no number."""

WITH_OFFSET = 2.0**-24
"""A norm that adds 1 to its weight keeps no finer steps of what it multiplies with."""


@dataclass(frozen=True)
class Smoothing:
    """By product the factors [inputs] of its inputs; the names of tensors that were divided so."""

    factors: "dict[str, Factors]" = field(default_factory=dict)
    norms: set[str] = field(default_factory=set)


def smoothing_of(exact: "Graph", found: "Graph", offset: float) -> Smoothing:
    """Return what smoothing did to the graph `found`, whose weights were those of `exact`.

    `offset` is what the model's norms add to their weights. Norms that differ in any other way are
    not told, nor are the products behind them: they are changed.
    """
    smoothing = Smoothing()
    for name, product in found.nodes.items():
        inputs = next((one.i for one in product.attribute if one.name == "K"), 0)
        vectors = list(vectors_before(found, product, exact, inputs))
        factors = factors_of(exact, found, vectors, WITH_OFFSET if offset else 0.0)
        if factors is not None:
            smoothing.factors[name] = factors
            smoothing.norms.update(vectors)
    return smoothing


def vectors_before(graph: "Graph", product: Any, other: "Graph", inputs: int) -> Iterator[str]:
    """Yield the names of the vectors of the norm whose output a product reads: gain, then bias.

    Only of those [inputs] that both graphs have.
    """
    maker = graph.makers.get(product.input[0])
    while maker is not None and maker.op_type in BETWEEN:
        maker = graph.makers.get(maker.input[0])
    for name in () if maker is None else maker.input:
        both = [one.tensors[name] for one in (graph, other) if name in one.tensors]
        if len(both) == 2 and all(tuple(one.dims) == (inputs,) for one in both):
            yield name


def factors_of(
    exact: "Graph", found: "Graph", vectors: list[str], tolerance: float
) -> "Factors | None":
    """Return the powers of two by which all the vectors were divided, or None if they were not."""
    import numpy as np

    if not vectors:
        return None
    pairs = [(values(exact, name), values(found, name)) for name in vectors]
    gain, divided = pairs[0]
    with np.errstate(all="ignore"):
        ratio = np.where(gain == divided, 1.0, gain / divided).astype(np.float32)
        factors = np.exp2(np.round(np.log2(ratio))).astype(np.float32)
        off = [np.abs(one * factors - before) for before, one in pairs]
    right = all(bool((one <= tolerance * factors).all()) for one in off)
    return factors if right and np.isfinite(factors).all() else None


def values(graph: "Graph", name: str) -> "NDArray[Any]":
    """Return the numbers of a vector."""
    tensor = graph.tensors[name]
    return read_tensor(graph.folder, tensor, tuple(tensor.dims))
