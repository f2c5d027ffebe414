"""What lies beside a graph, so that its folder is complete in itself."""

import json
import shutil
from pathlib import Path

from components.contracts.artefacts import write_json

TOKENIZER = ("tokenizer*", "chat_template*", "special_tokens_map.json", "vocab.*", "merges.txt")
LOADING = ("is_local", "local_files_only", "name_or_path")
"""What transformers writes of how a tokenizer was loaded."""


def copy_beside(model: Path, out: Path, *patterns: str) -> None:
    """Copy the tokenizer of a model folder to `out`, and the files of further patterns."""
    for pattern in (*TOKENIZER, *patterns):
        for file in sorted(model.glob(pattern)):
            shutil.copyfile(file, out / file.name)
    forget_loading(out)


def forget_loading(folder: Path) -> None:
    """Take out of tokenizer_config.json how and from where the tokenizer was loaded."""
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {key: value for key, value in config.items() if key not in LOADING})
