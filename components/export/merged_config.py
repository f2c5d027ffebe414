"""What the builder looks for in a model's config.json, and transformers 5 writes elsewhere."""

import json
from pathlib import Path
from typing import Any

from components.contracts.artefacts import write_json

GLOBAL, LOCAL = "full_attention", "sliding_attention"


def say_what_the_builder_asks(folder: Path) -> None:
    """Add to the config.json of a merged model what the builder reads; nothing is taken away.

    Without it the builder leaves out a window that all layers have (Mistral), and stops at
    rotary angles that differ between layers (Gemma 3).
    """
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    found = config | window_of_all_layers(config) | flat_angles(config)
    if found != config:
        write_json(file, found)


def window_of_all_layers(config: dict[str, Any]) -> dict[str, Any]:
    """Return the kind of each layer where one window holds for all of them."""
    if config.get("model_type") != "mistral" or not config.get("sliding_window"):
        return {}
    return {"layer_types": [LOCAL] * config["num_hidden_layers"]}


def flat_angles(config: dict[str, Any]) -> dict[str, Any]:
    """Return the rotary parameters with those of global layers beside the nested ones."""
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope.get(GLOBAL), dict) or not isinstance(rope.get(LOCAL), dict):
        return {}
    local = {"rope_local_base_freq": rope[LOCAL]["rope_theta"]}
    return {"rope_parameters": {**rope, **rope[GLOBAL], **local}}
