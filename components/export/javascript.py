"""All variants of an export as one folder in the layout that transformers.js looks for by itself.

A variant's own folder can be read too (`subfolder: ""`, docs/export.md); this is for those who name
a model only, as on a hub: `config.json`, `tokenizer.json` …, `onnx/model_quantized.onnx` and so on.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.artefacts import write_json
from components.contracts.errors import ArtefactError
from components.contracts.kinds import Onnx
from components.contracts.onnx_weights import WEIGHTS
from components.export.readers import CONFIG, GENAI, TRANSFORMERS_JS, config_of
from components.export.tracing import FILE
from components.export.weights_file import rename_weights

FOLDER = "onnx"
NAMES = {
    "fp32": ("fp32", "model.onnx"),
    "fp16": ("fp16", "model_fp16.onnx"),
    "int8": ("q8", "model_quantized.onnx"),
    "int4": ("q4", "model_q4.onnx"),
}
"""What transformers.js calls a variant's type (`dtype`) and its file."""

BY_ITSELF = ("fp32", "q8")
"""What it takes where no `dtype` is asked for: in Node, and in a browser's WebAssembly."""


@dataclass(frozen=True)
class View:
    """What was written: variants with their `dtype`, and those without one."""

    folder: Path
    variants: dict[str, str]
    left_out: tuple[str, ...]


def write_view(onnx: Onnx, out: Path) -> View:
    """Write the folder `out`: weights are copied, graphs, which name their weights, written anew.

    Links would cost no room, but `onnx` refuses to read weights with a second name, in the export
    too, and one careless write into the view would change what was proved.

    Raises:
        ArtefactError: `out` is there already, or no variant has a name in transformers.js.
    """
    variants = {name: NAMES[name][0] for name in onnx.variants if name in NAMES}
    if not variants:
        raise ArtefactError(
            f"transformers.js has no name for {', '.join(onnx.variants)}",
            fix=f"put one of {', '.join(NAMES)} into export.variants",
        )
    if out.exists():
        raise ArtefactError(f"{out} is there already", fix="name a folder that is not there yet")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (temporary / FOLDER).mkdir(parents=True)
        _fill(onnx, list(variants), temporary)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    left_out = tuple(name for name in onnx.variants if name not in variants)
    return View(out, variants, left_out)


def _fill(onnx: Onnx, variants: list[str], folder: Path) -> None:
    first = onnx.variant(variants[0])
    own = {FILE, WEIGHTS, GENAI, CONFIG}
    for file in sorted(file for file in first.iterdir() if file.name not in own):
        shutil.copyfile(file, folder / file.name)
    for variant in variants:
        name = NAMES[variant][1]
        _rename_graph(onnx.variant(variant) / FILE, folder / FOLDER / name)
        weights = onnx.variant(variant) / WEIGHTS
        if weights.is_file():
            shutil.copyfile(weights, folder / FOLDER / f"{name}_data")
    config = json.loads((first / CONFIG).read_text(encoding="utf-8"))
    write_json(folder / CONFIG, config_of(config, _javascript(variants, folder)))


def _rename_graph(source: Path, out: Path) -> None:
    import onnx

    model = onnx.load(source, load_external_data=False)
    rename_weights(model.graph, f"{out.name}_data")
    out.write_bytes(model.SerializeToString(deterministic=True))


def _javascript(variants: list[str], folder: Path) -> dict[str, Any]:
    """Return what transformers.js is told: which files have weights beside them, what to take."""
    types = [NAMES[variant][0] for variant in variants]
    files = [NAMES[variant][1] for variant in variants]
    there = {name: 1 for name in files if (folder / FOLDER / f"{name}_data").is_file()}
    told: dict[str, Any] = {**TRANSFORMERS_JS, "use_external_data_format": there}
    if all(name in types for name in BY_ITSELF):
        del told["dtype"]
    else:
        told["dtype"] = types[0]
    return told
