"""What other readers of an exported folder ask for: optimum, transformers.js, onnxruntime-genai.

Each variant is one folder that all of them read as it is (docs/export.md).
"""

import json
from pathlib import Path
from typing import Any

from components.contracts.artefacts import write_json
from components.contracts.onnx_weights import WEIGHTS
from components.export.tied import share_embedding
from components.export.tracing import FILE
from components.export.weights_file import rename_weights, write_weights

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
TEMPLATE, GENAI = "chat_template.jinja", "genai_config.json"
PATHS = ("_name_or_path",)
"""What transformers may write of where a model was loaded from."""

# transformers.js takes the type for the end of the file's name: that of fp32 is none, so this
# finds `model.onnx` whatever its weights are.
TRANSFORMERS_JS = {"dtype": "fp32", "use_external_data_format": {FILE: 1}}

WIDTH = 3
"""The axis of a cache [rows, heads, places, width] that is never left open."""


def make_ready(model: Path, out: Path) -> None:
    """Complete the variant `out` of the model folder `model`: graph, weights file, configs."""
    import onnx

    graph = onnx.load(out / FILE, load_external_data=False)
    if share_embedding(graph.graph, out):
        write_weights(graph.graph, out)
    else:
        for file in rename_weights(graph.graph, WEIGHTS):
            (out / file).rename(out / WEIGHTS)
    close_width(graph.graph, out / GENAI)
    (out / FILE).write_bytes(graph.SerializeToString(deterministic=True))
    config = json.loads((model / CONFIG).read_text(encoding="utf-8"))
    write_json(out / CONFIG, config_of(config, TRANSFORMERS_JS))
    tell_template(out)


def config_of(config: dict[str, Any], javascript: dict[str, Any]) -> dict[str, Any]:
    """Return a model's config.json with what transformers.js reads, and without places."""
    kept = {key: value for key, value in config.items() if key not in PATHS}
    return {**kept, "transformers.js_config": javascript}


def close_width(graph: Any, config: Path) -> None:
    """Write the width of the heads into the shapes of the cache, where the builder leaves a name.

    transformers.js begins with a cache whose open axes have length 0, and the attention kernel
    refuses a head without width.
    """
    if not config.is_file():
        return
    size = json.loads(config.read_text(encoding="utf-8"))["model"]["decoder"]["head_size"]
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name.startswith(("past_key_values.", "present.")) and dims[WIDTH].dim_param:
            dims[WIDTH].dim_value = size


def tell_template(folder: Path) -> None:
    """Put the chat template into tokenizer_config.json too: transformers.js looks only there."""
    template, file = folder / TEMPLATE, folder / TOKENIZER_CONFIG
    if template.is_file():
        config = json.loads(file.read_text(encoding="utf-8"))
        write_json(file, config | {"chat_template": template.read_text(encoding="utf-8")})
