"""Which way a merged model becomes files: onnxruntime-genai's builder, or PyTorch's exporter."""

import shutil
from collections.abc import Callable
from pathlib import Path

from components.contracts.errors import ModelError
from components.export import builder
from components.export.beside import copy_beside
from components.export.dynamic import round_dynamically
from components.export.readers import make_ready
from components.export.round_weights import round_weights
from components.export.settings import ExportSettings

Write = Callable[[Path, str], None]
"""Writes a variant of one model to a folder."""

Trace = Callable[[Path, Path], str | None]
"""Writes the fp32 graph of a model folder to another; returns the name of its head's product."""


def by_builder(merged: Path, settings: ExportSettings) -> Write:
    """Return what writes variants of the model folder `merged` with the builder."""

    def write(out: Path, variant: str) -> None:
        rounding = builder.quantization_of(variant, settings)
        if rounding is not None and rounding.dynamic:
            whole = merged / "whole"
            builder.build(merged, whole, "fp32", settings)
            round_dynamically(whole, out, rounding)
            shutil.rmtree(whole)
        else:
            builder.build(merged, out, variant, settings)
        make_ready(merged, out)

    return write


def by_tracing(trace: Trace, *beside: str) -> Callable[[Path, ExportSettings], Write]:
    """Return what traces a model once, with `trace`, and makes every variant of that graph.

    `beside` are patterns of files of the model that go along with the tokenizer.
    """

    def open_writer(merged: Path, settings: ExportSettings) -> Write:
        for variant in settings.variants:
            check_variant(variant, settings)
        traced = merged / "traced"
        head = trace(merged, traced)
        copy_beside(merged, traced, "generation_config.json", *beside)

        def write(out: Path, variant: str) -> None:
            rounding = builder.quantization_of(variant, settings)
            if rounding is None:
                shutil.copytree(traced, out, dirs_exist_ok=True)
            elif rounding.dynamic:
                round_dynamically(traced, out, rounding)
            elif rounding.calibrated:
                round_weights(traced, out, "int8", rounding.before_calibration(), head)
            else:
                round_weights(traced, out, variant, rounding, head)
            make_ready(merged, out)

        return write

    return open_writer


def check_variant(variant: str, settings: ExportSettings) -> None:
    """Raise `ModelError` if a variant cannot be made of a traced graph."""
    rounding = builder.quantization_of(variant, settings)
    if rounding is None and variant != "fp32":
        raise ModelError(
            f"the {variant} file cannot be built: half precision is only for models that "
            "onnxruntime-genai's builder knows",
            fix="leave this variant out of export.variants",
        )
    if rounding is not None and rounding.algo_config == "k_quant":
        raise ModelError(
            f"export.{variant}.algo_config is k_quant, which is only for models that "
            "onnxruntime-genai's builder knows",
            fix="use rtn or default",
        )
