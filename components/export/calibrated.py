"""A file whose weights are rounded once more, with the inputs in mind that they will meet.

The file comes with weights of eight bits, from onnxruntime-genai's builder or of a traced graph.
Its products are found in the torch model by their values, so no name needs to be known and none
can be mistaken.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.contracts.events import Context, Events
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.onnx_weights import place_of, read_tensor
from components.contracts.task_types import CAUSAL_LM, task_type_of
from components.export.builder import is_calibrated, quantization_of
from components.export.rewriting import rewrite
from components.export.settings import Calibration, ExportSettings, WeightQuantization
from components.export.tracing import FILE
from components.quantization.calibrate import calibrate, head_moments
from components.quantization.gptq import Manner, gptq
from components.quantization.packing import pack, unpack
from components.quantization.placement import LAYER, bits_of
from components.quantization.samples import Samples, sample

if TYPE_CHECKING:
    import torch

    from components.quantization.grid import Rounded

OP = "MatMulNBits"
LARGEST_DIFFERENCE = 0.05
"""Mean difference between weights and the same weights in eight bits, as a share of their mean."""

WIDTHS = {"int4": 4, "int8": 8}


@dataclass(frozen=True)
class Product:
    """A `MatMulNBits` node and the weight [outputs, inputs] it computes with."""

    node: Any
    tensors: tuple[Any, ...]
    folder: Path

    @property
    def name(self) -> str:
        return str(self.node.name)

    def how(self, attribute: str) -> int:
        return int(next(one.i for one in self.node.attribute if one.name == attribute))

    def weight(self) -> NDArray[np.float32]:
        """Return what the node's integers stand for."""
        codes, scales, *zeros = (
            read_tensor(self.folder, one, tuple(one.dims)) for one in self.tensors
        )
        inputs, bits, block = (self.how(name) for name in ("K", "bits", "block_size"))
        return unpack(codes, scales, zeros[0] if zeros else None, inputs, bits, block)


def check_calibrated(
    base: BaseModelFolder, tokens: Tokens | None, settings: ExportSettings
) -> None:
    """Raise `ModelError` if a variant is to be calibrated and this model cannot be."""
    wanted = [one for one in settings.variants if is_calibrated(one, settings)]
    if wanted and task_type_of(base) != CAUSAL_LM:
        raise ModelError(
            f"export.{wanted[0]}.algo_config is gptq, which is only for decoders "
            f"(this model is trained for {task_type_of(base)})",
            fix="use rtn or default",
        )
    if wanted and tokens is None:
        raise ModelError(
            f"export.{wanted[0]}.algo_config is gptq, but there are no rows to calibrate on",
            fix="run the line's tokenize stage first, or use rtn",
        )


def calibrate_variant(
    folder: Path,
    variant: str,
    merged: Path,
    tokens: Tokens | None,
    settings: ExportSettings,
    context: Context,
) -> None:
    """Round the weights of a variant once more, if the settings say so.

    `merged` is the folder of the model that the file in `folder` was made of.
    """
    quantization = quantization_of(variant, settings)
    if quantization is None or not quantization.calibrated or tokens is None:
        return
    from components.model.merge import load_decoder

    samples = read_samples(tokens, quantization.calibration)
    context.events.note(f"{variant}: calibrating on {len(samples.rows)} rows")
    round_again(folder, load_decoder(merged), samples, quantization, context.events)


def read_samples(tokens: Tokens, how: Calibration) -> Samples:
    """Return the rows of the training split that weights are calibrated on."""
    import pyarrow.parquet as pq

    every = pq.read_table(tokens.split("train"), columns=["input_ids"])["input_ids"].to_pylist()
    prefix = int(tokens.facts["prefix_token"])
    samples = sample(every, how.nsamples, how.seqlen, how.seed, prefix)
    if not samples.rows:
        raise ModelError(
            "the training split has no row of two tokens or more to calibrate on",
            fix="use algo_config rtn",
        )
    return samples


def round_again(
    folder: Path, model: Any, samples: Samples, settings: WeightQuantization, events: Events
) -> None:
    """Round the products of the file in `folder` to the bits that `settings` give them.

    `model` is the same model in torch, in fp32; its weights become those of the file. Raises
    `ModelError` where a product of the file is not one of the model.
    """
    import onnx

    graph = onnx.load(folder / FILE, load_external_data=False)
    products = {one.name: one for one in products_of(graph.graph, folder)}
    modules = {name: modules_of(one, model) for name, one in products.items()}
    head = path_of_head(model)
    widths: dict[str, int] = {
        group: WIDTHS[kind] for group, kind in settings.matmul_mixed_precision.items()
    }
    bits = bits_of(modules, 4, widths, head)
    few = {path for name, paths in modules.items() if bits[name] == 4 for path in paths}
    rounded = round_model(model, samples, few, products, modules, settings, events)
    replaced = {
        name: [rounded[path] for path in modules[name]]
        for name, width in bits.items()
        if width == 4
    }
    for name, parts in replaced.items():
        put(graph.graph, products[name], parts)
    rewrite(graph, folder)


def round_model(
    model: Any,
    samples: Samples,
    few: set[str],
    products: Mapping[str, Product],
    modules: Mapping[str, Sequence[str]],
    settings: WeightQuantization,
    events: Events,
) -> "dict[str, Rounded]":
    """Give every product of `model` the weights of the file; return those rounded to four bits.

    What keeps eight bits gets the file's weights as they are.
    """
    import torch

    how, found = settings.calibration, dict[str, Any]()
    manner = Manner(how.damp_percent, how.desc_act, how.sweeps)
    kept = {path: name for name, paths in modules.items() for path in paths if path not in few}

    def choose(path: str, module: Any, moments: "torch.Tensor") -> "torch.Tensor":
        if path in kept:
            return rows_of(products[kept[path]], modules[kept[path]], path, model)
        if path not in few:  # a product that the file computes in full precision
            weight: torch.Tensor = module.weight
            return weight
        found[path] = gptq(module.weight.detach().clone(), moments, 4, settings.block_size, manner)
        new: torch.Tensor = found[path].weight
        return new

    calibrate(model, samples, choose, events)
    head = path_of_head(model)
    if head in few:
        module = model.get_submodule(head)
        choose(head, module, head_moments(model, samples))
    return found


def rows_of(product: Product, paths: Sequence[str], path: str, model: Any) -> "torch.Tensor":
    """Return the part of a product's weight that is the module `path`."""
    import torch

    sizes = [model.get_submodule(one).weight.shape[0] for one in paths]
    start = sum(sizes[: paths.index(path)])
    rows = product.weight()[start : start + sizes[paths.index(path)]]
    return torch.from_numpy(rows)


def products_of(graph: Any, folder: Path) -> list[Product]:
    """Return the products with rounded weights of a graph."""
    named = {tensor.name: tensor for tensor in graph.initializer}
    return [
        Product(node, tuple(named[name] for name in node.input[1:4] if name), folder)
        for node in graph.node
        if node.op_type == OP
    ]


def modules_of(product: Product, model: Any) -> tuple[str, ...]:
    """Return the paths of the modules whose weights a product holds, one above the other."""
    weight = product.weight()
    layer = LAYER.search(product.name.replace("/", "."))
    candidates = list(linears_of(model, int(layer[1]) if layer else None))
    found, at = [], 0
    while at < len(weight):
        for path, module in candidates:
            size, inputs = module.weight.shape
            part = weight[at : at + size]
            if part.shape == (size, inputs) and is_same(part, module.weight):
                found.append(path)
                at += size
                break
        else:
            raise ModelError(
                f"the product {product.name} of the exported graph is none of the model's own: "
                "it cannot be calibrated",
                fix="use algo_config rtn for this model",
            )
    return tuple(found)


def linears_of(model: Any, layer: int | None) -> "list[tuple[str, torch.nn.Linear]]":
    """Return the products of a layer of the model, or those of none."""
    import torch

    every = ((path, one) for path, one in model.named_modules() if isinstance(one, torch.nn.Linear))
    return [
        (path, one)
        for path, one in every
        if (int(found[1]) if (found := LAYER.search(f".{path}.")) else None) == layer
    ]


def is_same(rounded: NDArray[np.float32], weight: "torch.Tensor") -> bool:
    """Return whether `rounded` is `weight` in eight bits."""
    whole = weight.detach().numpy()
    return bool(np.abs(rounded - whole).mean() <= LARGEST_DIFFERENCE * np.abs(whole).mean())


def path_of_head(model: Any) -> str:
    """Return the path of the head's module."""
    head = model.get_output_embeddings()
    return next((path for path, module in model.named_modules() if module is head), "")


def put(graph: Any, product: Product, parts: "Sequence[Rounded]") -> None:
    """Let a node compute with other integers, those of `parts` one above the other.

    A lookup in the very same weights (an embedding that is the head) gets the new ones too.
    """
    from onnx import helper, numpy_helper

    grid, before = parts[0].grid, product.tensors[0]
    was = helper.tensor_dtype_to_np_dtype(product.tensors[1].data_type)
    codes, scales, zeros = (
        np.concatenate(several) for several in zip(*map(pack, parts), strict=True)
    )
    stem = re.sub(r"_Q\d+(G\d+)?$", "", before.name)
    arrays = {
        f"{stem}_Q{grid.bits}_calibrated": codes,
        f"{stem}_scales_calibrated": scales.astype(was),
        f"{stem}_zero_points_calibrated": zeros,
    }
    lookups = [node for node in graph.node if looks_up(graph, node, before)]
    if lookups:
        arrays[f"{stem}_rows_calibrated"] = codes.reshape(len(codes), -1)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in arrays.items())
    names = list(arrays)
    product.node.input[1:] = names[:3]
    product.node.name = re.sub(r"_Q\d+$", f"_Q{grid.bits}", product.node.name)
    for node in lookups:
        node.input[:] = [names[3], node.input[1], *names[1:3]]
    for node in (product.node, *lookups):
        for attribute in node.attribute:
            new = {"bits": grid.bits, "block_size": grid.block}
            attribute.i = new.get(attribute.name, attribute.i)


def looks_up(graph: Any, node: Any, codes: Any) -> bool:
    """Return whether a node looks rows up in the bytes of the tensor `codes`."""
    if node.op_type != "GatherBlockQuantized":
        return False
    table = next((one for one in graph.initializer if one.name == node.input[0]), None)
    place = None if table is None else place_of(table)
    return place is not None and place == place_of(codes)
