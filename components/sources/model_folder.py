"""A transformers model folder: copying one, and saying what it is without loading it."""

import hashlib
import json
import math
import shutil
import struct
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from components.contracts.artefacts import need_space, sha256
from components.contracts.errors import ModelError, SourceError
from components.contracts.lengths import context_length

PATTERNS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
    "LICENSE*",
)
"""What of a model folder is taken along: no pickles and no code."""


def copy_model(source: Path, folder: Path, name: str) -> None:
    """Copy the model folder `source` to `folder`; raise `SourceError` if a part is missing."""
    files = [f for f in sorted(source.glob("*")) if any(fnmatch(f.name, p) for p in PATTERNS)]
    names = {file.name for file in files}
    for part, there in {
        "config.json": "config.json" in names,
        "weights in *.safetensors": any(n.endswith(".safetensors") for n in names),
        "a tokenizer (tokenizer.json)": any(n.startswith("tokenizer") for n in names),
    }.items():
        if not there:
            raise SourceError(
                f"the model folder {name} has no {part}",
                fix="save model and tokenizer there with save_pretrained",
            )
    need_space(folder, sum(file.stat().st_size for file in files), f"a copy of {name}")
    for file in files:
        shutil.copyfile(file, folder / file.name)


def describe(folder: Path) -> dict[str, Any]:
    """Return architecture, parameters, vocabulary size, tying and a hash of the weights.

    Parameters are counted from the headers of the safetensors files. Raises `ModelError` for a
    quantised model: an adapter is trained on it but must be merged into full precision.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config:
        raise ModelError(
            "the base model is quantised already "
            f"({config['quantization_config'].get('quant_method')})",
            fix="take the full-precision model; training.load_in_4bit quantises it on the way",
        )
    weights = sorted(folder.glob("*.safetensors"))
    shapes = [shape for file in weights for shape in _shapes(file)]
    return {
        "architecture": (config.get("architectures") or [config.get("model_type")])[0],
        "parameters": sum(math.prod(shape) for shape in shapes),
        "vocabulary_size": config.get("vocab_size"),
        "max_position_embeddings": context_length(config),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "weights_sha256": _digest(weights),
        "weights_bytes": sum(file.stat().st_size for file in weights),
    }


def _shapes(file: Path) -> list[list[int]]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return [entry["shape"] for name, entry in header.items() if name != "__metadata__"]


def _digest(files: list[Path]) -> str:
    if len(files) == 1:
        return sha256(files[0])
    lines = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
