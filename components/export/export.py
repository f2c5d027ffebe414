"""The export step: adapter merged into the full-precision base, then one ONNX folder a variant."""

import json
import shutil
from pathlib import Path
from typing import Any

from components.contracts.artefacts import need_space
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx, Tokens
from components.export import builder
from components.export.calibrated import calibrate_variant, check_calibrated
from components.export.kinds import architecture, kind_of
from components.export.merged_config import say_what_the_builder_asks
from components.export.settings import ExportSettings
from components.export.smoothed import (
    alpha_of,
    check_smoothed,
    facts_of,
    smoothed_folder,
    source_of,
)

# Upper bounds of the bytes a parameter takes on disk: codes, scales, zero points, and a margin.
BYTES_A_PARAMETER = {"fp32": 4.1, "fp16": 2.1, "bf16": 2.1, "int8": 1.25, "int4": 0.9}
BESIDE = 16_000_000
"""Bytes of tokenizer, graph and rotary tables of a variant."""

WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")
"""How configurations call the width of the embeddings."""


def export(
    base: BaseModelFolder,
    adapter: Adapter,
    settings: ExportSettings,
    *,
    out: Path,
    context: Context,
    tokens: Tokens | None = None,
) -> Onnx:
    """Write each variant as a folder that is complete in itself (graph, tokenizer, configs).

    `tokens` are the rows that weights are calibrated on or smoothed over, where the settings ask
    for that.

    Raises:
        ModelError: the architecture is not known to the builder, or the adapter does not fit.
        SpaceError: the disk has too little room for the merged model and all variants.
    """
    open_writer = kind_of(base).writer(base.model)
    check_calibrated(base, tokens, settings)
    check_smoothed(base, tokens, settings)
    needed = bytes_needed(base.model, settings)
    need_space(out.parent, needed, f"the export of {', '.join(settings.variants)}")
    merged = context.scratch / "merged"
    try:
        merge(base, adapter, merged)
        write = open_writer(merged, settings)
        with Onnx.write(out) as draft:
            draft.facts |= _facts(base, settings)
            for done, variant in enumerate(settings.variants):
                context.events.progress("exporting", done, len(settings.variants))
                folder = draft.folder / variant
                source, smoothed = source_of(variant, merged, tokens, settings, context)
                (open_writer(source, settings) if smoothed else write)(folder, variant)
                calibrate_variant(folder, variant, source, tokens, settings, context)
                told = _variant_facts(folder, variant, settings)
                draft.facts["variants"][variant] = told | facts_of(smoothed)
            context.events.progress("exporting", len(settings.variants), len(settings.variants))
    finally:
        for folder in (merged, smoothed_folder(merged)):
            shutil.rmtree(folder, ignore_errors=True)
    return Onnx.open(out)


def merge(base: BaseModelFolder, adapter: Adapter, folder: Path) -> None:
    """Write the fp32 model with the adapter merged in, and its tokenizer, to `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    model, tokenizer = kind_of(base).merged(base, adapter)
    model.save_pretrained(folder)
    say_what_the_builder_asks(folder)
    tokenizer.save_pretrained(folder)


def parameters(model: Path) -> int:
    """Return the number of parameters in a folder's safetensors files, from their headers."""
    from math import prod

    from safetensors import safe_open

    count = 0
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            shapes = (tensors.get_slice(name).get_shape() for name in tensors.keys())  # noqa: SIM118
            count += sum(prod(shape) for shape in shapes)
    return count


def bytes_needed(model: Path, settings: ExportSettings) -> int:
    """Return about how many bytes the merged model and all variants of a model folder take."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    width = next(int(config[name]) for name in WIDTHS if name in config)
    embedding = int(config["vocab_size"]) * width
    count = parameters(model)
    needed = BYTES_A_PARAMETER["fp32"] * count
    if any(alpha_of(variant, settings) is not None for variant in settings.variants):
        needed *= 2  # the smoothed model beside the merged one
    for variant in settings.variants:
        needed += BYTES_A_PARAMETER[variant] * count + BESIDE
        if builder.quantization_of(variant, settings) is not None:
            needed += 4 * embedding  # the lookup table may stay in fp32
    return int(needed)


def _facts(base: BaseModelFolder, settings: ExportSettings) -> dict[str, Any]:
    return {
        "architecture": architecture(base.model),
        "parameters": parameters(base.model),
        "execution_provider": settings.execution_provider,
        "versions": builder.versions(),
        "variants": {},
    }


def _variant_facts(folder: Path, variant: str, settings: ExportSettings) -> dict[str, Any]:
    quantization = builder.quantization_of(variant, settings)
    return {
        **builder.describe(folder),
        "quantization": None if quantization is None else quantization.facts(),
    }
