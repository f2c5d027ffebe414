"""Weight-only quantisation of a traced graph, in the words of the builder's settings."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.errors import ModelError
from components.export.hushed import hushed
from components.export.settings import WeightQuantization
from components.export.tracing import FILE, weight_products

BITS = {"int8": 8, "int4": 4}
LAYER = re.compile(r"\.(\d+)\.")


def round_weights(
    source: Path, out: Path, variant: str, settings: WeightQuantization, head: str | None
) -> None:
    """Write the graph in the folder `source` to `out` with the weights of its products rounded.

    Each product of a weight becomes a `MatMulNBits`; embeddings, norms and biases stay in fp32.
    `head` is the name of the product that `last_matmul` means. Raises `ModelError` if the graph has
    no such product.
    """
    import onnx

    model = onnx.load(source / FILE)
    turn_weights(model.graph)
    names = sorted(weight_products(model.graph))
    check_products(names, variant)
    bits = of_one_weight(model.graph, bits_of(names, BITS[variant], settings, head))
    for width in sorted(set(bits.values())):
        chosen = [name for name in names if bits[name] == width]
        model = quantised(model, width, chosen, names, settings)
    out.mkdir(parents=True, exist_ok=True)
    weights = f"{FILE}.data"
    onnx.save_model(model, out / FILE, save_as_external_data=True, location=weights)
    for file in source.iterdir():
        if file.name not in (FILE, weights):
            shutil.copyfile(file, out / file.name)


def check_products(names: Sequence[str], variant: str) -> None:
    """Raise `ModelError` if a graph has no product to round."""
    if not names:
        raise ModelError(
            "the graph has no product with a weight: there is nothing to round",
            fix=f"leave {variant} out of export.variants",
        )


def bits_of(
    names: Sequence[str], bits: int, settings: WeightQuantization, head: str | None
) -> dict[str, int]:
    """Return the bits of each product.

    `mixed_layers` are the layers that the builder means by it (the first and last eighth, and every
    third between), here with all their products.
    """
    mixed = {key: BITS[width] for key, width in settings.matmul_mixed_precision.items()}
    layers = {name: int(found[1]) for name in names if (found := LAYER.search(name))}
    count = max(layers.values(), default=-1) + 1
    raised = {
        layer
        for layer in range(count)
        if layer < count / 8 or layer >= 7 * count / 8 or (layer - round(count / 8)) % 3 == 2
    }
    found_bits = dict.fromkeys(names, bits)
    for name, layer in layers.items():
        if "mixed_layers" in mixed and layer in raised:
            found_bits[name] = mixed["mixed_layers"]
    if "last_matmul" in mixed and head in found_bits:
        found_bits[str(head)] = mixed["last_matmul"]
    return found_bits


def of_one_weight(graph: Any, bits: dict[str, int]) -> dict[str, int]:
    """Return the bits of each product, alike for those that share a weight: the most of theirs.

    ALBERT's layers are one layer, and what is rounded twice is stored under the same names.
    """
    weights = {node.name: node.input[1] for node in graph.node if node.name in bits}
    most: dict[str, int] = {}
    for name, weight in weights.items():
        most[weight] = max(bits[name], most.get(weight, 0))
    return {name: most[weights[name]] for name in bits}


def turn_weights(graph: Any, *, tables: bool = False) -> None:
    """Turn weights round in the file, where the graph would do it at run time.

    A weight that is the embedding too stays as it is for that: it is then there twice. With
    `tables`, those that rows are looked up in are turned too.
    """
    from onnx import numpy_helper

    weights = {value.name: value for value in graph.initializer}
    products = weight_products(graph)
    for node in [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights]:
        readers = [n for n in graph.node if node.output[0] in n.input]
        turned_for = products | {n.name for n in readers if tables and n.op_type == "Gather"}
        if not readers or any(reader.name not in turned_for for reader in readers):
            continue
        array = numpy_helper.to_array(weights[node.input[0]])
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        turned = np.ascontiguousarray(array.transpose(order))
        graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for value in [value for value in graph.initializer if value.name not in read]:
        graph.initializer.remove(value)


def quantised(
    model: Any,
    bits: int,
    names: Sequence[str],
    every: Sequence[str],
    settings: WeightQuantization,
) -> Any:
    """Return a graph with the weights of the products `names`, out of `every`, rounded in blocks.

    The quantiser takes products that it is told to include beside all others: so these are told.
    """
    import io

    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    with hushed(io.StringIO()):
        quantizer = MatMulNBitsQuantizer(
            model,
            bits=bits,
            block_size=settings.block_size,
            is_symmetric=settings.is_symmetric,
            accuracy_level=settings.accuracy_level,
            nodes_to_exclude=sorted(set(every) - set(names)),
        )
        quantizer.process()
    return quantizer.model.model
