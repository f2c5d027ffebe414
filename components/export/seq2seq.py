"""The files of an encoder-decoder: traced once, rounded graph by graph, its decoders made one."""

import json
import shutil
from pathlib import Path

from components.contracts.artefacts import write_json
from components.export import builder
from components.export.beside import copy_beside
from components.export.one_decoder import merge_decoders
from components.export.readers import CONFIG, config_of
from components.export.round_weights import round_weights
from components.export.settings import ExportSettings
from components.export.traced_seq2seq import ENCODER, FIRST, NEXT, write_graphs
from components.export.tracing import FILE
from components.export.writers import Write, check_variant

ENCODER_FILE, DECODER_FILE = "encoder_model.onnx", "decoder_model_merged.onnx"
"""The names that transformers.js and optimum look for."""

BESIDE = (CONFIG, "generation_config.json")
TRANSFORMERS_JS = {
    "dtype": "fp32",
    "use_external_data_format": {ENCODER_FILE: 1, DECODER_FILE: 1},
}
"""As for other models (`readers`): no end of the file's name, weights in a file beside it."""


def open_writer(merged: Path, settings: ExportSettings) -> Write:
    """Trace the model folder `merged` and return what writes its variants.

    Raises `ModelError` if it cannot be traced, or a variant cannot be made of a traced graph.
    """
    for variant in settings.variants:
        check_variant(variant, settings)
    traced = merged / "traced"
    head = write_graphs(merged, traced)

    def write(out: Path, variant: str) -> None:
        rounding = builder.quantization_of(variant, settings)
        graphs = traced
        if rounding is not None:
            graphs = merged / "rounded"
            shutil.rmtree(graphs, ignore_errors=True)
            for name in (ENCODER, FIRST, NEXT):
                round_weights(traced / name, graphs / name, variant, rounding, head)
        move_graph(graphs / ENCODER / FILE, out / ENCODER_FILE)
        merge_decoders(graphs / FIRST, graphs / NEXT, out / DECODER_FILE)
        copy_beside(merged, out, *BESIDE)
        config = json.loads((out / CONFIG).read_text(encoding="utf-8"))
        write_json(out / CONFIG, config_of(config, TRANSFORMERS_JS))

    return write


def move_graph(source: Path, file: Path) -> None:
    """Write a graph under another name, with its weights beside it."""
    import onnx

    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(
        onnx.load(source), file, save_as_external_data=True, location=f"{file.name}_data"
    )
