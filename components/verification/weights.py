"""Whether a rounded file holds the weights of the fp32 file, number by number.

Logits tell of a changed weight only when it matters to the prompts asked. Here every code must be
the nearest one that its block has for the weight it stands for, so that nearly every flipped bit
shows; and what is not rounded must be the same bytes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.kinds import Onnx
from components.contracts.onnx_weights import Rounded, read_tensor, rounded_of
from components.verification.smoothed import Smoothing, smoothing_of

ROUNDED = re.compile(r"_Q\d+$")
"""What the quantiser puts behind the name of a product."""

TO_NEAREST = {"default", "rtn"}
"""Algorithms that take the nearest step; the others move weights on purpose."""

LIMITS = {1: 0.51, 10: 0.75, 16: 1.5}
"""Steps by the type of the steps (onnx.TensorProto: float, float16, bfloat16). The nearest is half
a step away at most; the others round step and weight before, by up to 1/2048 and 1/256 of 255.
"""

EXACT = "fp32"


@dataclass(frozen=True)
class Graph:
    """A graph without its weights, its products and initialisers by name, and its folder.

    `makers` has the node that makes each value.
    """

    folder: Path
    nodes: dict[str, Any]
    tensors: dict[str, Any]
    makers: dict[str, Any]

    @classmethod
    def of(cls, file: Path) -> "Graph":
        import onnx

        graph = onnx.load(file, load_external_data=False).graph
        named = {
            ROUNDED.sub("", node.name): node for node in graph.node if "MatMul" in node.op_type
        }
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        makers = {value: node for node in graph.node for value in node.output}
        return cls(file.parent, named, tensors, makers)


def compare_weights(onnx: Onnx, variant: str) -> dict[str, Any]:
    """Return how far a variant's weights are from those of the fp32 file.

    {"compared", and "reason" or "passed", "limit", "largest_steps", "weights", "changed"}:
    `changed` names tensors that are not rounded and yet not the same bytes, and products whose
    weights are further from the nearest code's value than `limit` steps.
    """
    reason = _why_not(onnx, variant)
    if reason is not None:
        return {"compared": False, "reason": reason}
    offset = onnx.facts["variants"][variant].get("smoothed", {}).get("offset")
    changed, largest, limit, count = list[str](), 0.0, 0.0, 0
    for file in sorted(onnx.variant(variant).glob("*.onnx")):
        exact, found = Graph.of(onnx.variant(EXACT) / file.name), Graph.of(file)
        smoothing = Smoothing() if offset is None else smoothing_of(exact, found, offset)
        changed += [one for one in _changed_tensors(exact, found) if one not in smoothing.norms]
        for name, node in found.nodes.items():
            rounded = rounded_of(node, found.tensors)
            weight = _weight_of(exact, name)
            if rounded is None or weight is None:
                continue
            factors = smoothing.factors.get(name)
            off = _steps_off(rounded, found.folder, weight, exact.folder, factors)
            largest, count = max(largest, off), count + rounded.outputs * rounded.inputs
            limit = LIMITS[rounded.scales.data_type]
            if off > limit:
                changed.append(name)
    if not count:
        return {"compared": False, "reason": "its products are not those of the fp32 file"}
    return {
        "compared": True,
        "passed": not changed,
        "limit": limit,
        "largest_steps": largest,
        "weights": count,
        "changed": changed,
    }


def changed_weights(variants: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what `compare_weights` found changed, by variant; empty where all is well."""
    found = {name: facts["weights"].get("changed", []) for name, facts in variants.items()}
    return {name: changed for name, changed in found.items() if changed}


def _why_not(onnx: Onnx, variant: str) -> str | None:
    quantization: Mapping[str, Any] | None = onnx.facts["variants"][variant]["quantization"]
    if quantization is None:
        return "its weights are not rounded"
    if EXACT not in onnx.variants:
        return "there is no fp32 file to compare with"
    if quantization["algo_config"] not in TO_NEAREST:
        return f"{quantization['algo_config']} does not round to the nearest step"
    return None


def _changed_tensors(exact: Graph, found: Graph) -> list[str]:
    """Return the names of float tensors that both have, but not with the same bytes."""
    both = [name for name in found.tensors if name in exact.tensors]
    return [name for name in both if not _same(exact, found, name)]


def _same(one: Graph, other: Graph, name: str) -> bool:
    import numpy as np

    left, right = one.tensors[name], other.tensors[name]
    if (left.data_type, tuple(left.dims)) != (right.data_type, tuple(right.dims)):
        return True  # another tensor of that name: a product's weight, before and after rounding
    shape = tuple(left.dims)
    before, now = read_tensor(one.folder, left, shape), read_tensor(other.folder, right, shape)
    return np.array_equal(before, now, equal_nan=True)


def _weight_of(graph: Graph, product: str) -> Any | None:
    """Return the weight [inputs, outputs] of a product in full precision."""
    node = graph.nodes.get(product)
    return None if node is None else graph.tensors.get(node.input[1])


def _steps_off(
    rounded: Rounded, folder: Path, weight: Any, beside: Path, factors: Any | None
) -> float:
    """Return the largest distance of a rounded weight from its own, in steps of its block.

    Its own is the exact one, times the factor of its input where the file was smoothed.

    Its own is the nearest that the block's codes reach: the builder's rounding with a zero point
    cuts blocks whose weights are all of one sign.
    """
    import numpy as np

    exact = read_tensor(beside, weight, (rounded.inputs, rounded.outputs))
    largest, padding = 0.0, rounded.blocks * rounded.block_size - rounded.inputs
    for part in rounded.rows(folder):
        shape = part.values.shape
        rows = np.zeros((shape[0], rounded.inputs + padding), np.float32)
        rows[:, : rounded.inputs] = exact[:, part.start : part.start + shape[0]].T
        if factors is not None:
            rows[:, : rounded.inputs] *= factors
        low, high = np.minimum(part.first, part.last), np.maximum(part.first, part.last)
        off = np.abs(part.values - np.clip(rows.reshape(shape), low, high)).reshape(rows.shape)
        off[:, rounded.inputs :] = 0
        # A block of zeros has no step: then nothing may be off.
        step = np.where(part.step == 0, np.finfo(np.float32).tiny, np.abs(part.step))
        largest = max(largest, float((off.reshape(shape) / step).max()))
    return largest
