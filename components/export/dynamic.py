"""Products in whole numbers: weights rounded by output, activations as they come, all in one.

ONNX Runtime's `quantize_dynamic`. Quick where many tokens are read at once, but one step has to do
for all activations of a product: products with outliers are better left in blocks of weights.
"""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from components.export.hushed import hushed
from components.export.round_weights import check_products, quantised, turn_weights
from components.export.settings import WeightQuantization
from components.export.tracing import FILE, weight_products
from components.quantization.placement import bits_of

WEIGHTS = f"{FILE}.data"
"""What quantize_dynamic calls its file of weights."""


def round_dynamically(source: Path, out: Path, settings: WeightQuantization) -> None:
    """Write the fp32 graph in the folder `source` to `out` with products of integers.

    Groups of `matmul_mixed_precision` are rounded in their weights only. Weights have a step for
    each output, with `is_symmetric` signed, else unsigned with a zero point. Raises `ModelError` if
    the graph has no product with a weight.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source / FILE)
    turn_weights(model.graph, tables=True)
    names = sorted(weight_products(model.graph))
    check_products(names, "int8")
    kept = kept_of(names, settings)
    if kept:
        model = quantised(model, 8, kept, names, settings)
    out.mkdir(parents=True, exist_ok=True)
    with hushed(io.StringIO()):
        quantize_dynamic(
            model,
            out / FILE,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8 if settings.is_symmetric else QuantType.QUInt8,
            nodes_to_quantize=[name for name in names if name not in kept],
            use_external_data_format=True,
            extra_options={"WeightSymmetric": settings.is_symmetric},
        )
    for file in source.iterdir():
        if file.is_file() and file.name not in (FILE, WEIGHTS):
            shutil.copyfile(file, out / file.name)


def kept_of(names: Sequence[str], settings: WeightQuantization) -> list[str]:
    """Return the products that only have their weights rounded."""
    raised: dict[str, int] = dict.fromkeys(settings.matmul_mixed_precision, 8)
    products = {name: (path_of(name),) for name in names}
    bits = bits_of(products, 0, raised, head="")
    return [name for name in names if bits[name]]


def path_of(name: str) -> str:
    """Return the path of a product's module: /model/layers.0/mlp/up_proj/MatMul has dots in it."""
    return name.replace("/", ".").removesuffix(".MatMul").strip(".")
