"""A model's token ids as text: what is needed to read what it writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError


@dataclass(frozen=True)
class Voice:
    """`tokenizer` is that of transformers; a token of `stop_ids` ends an answer."""

    tokenizer: Any
    stop_ids: frozenset[int]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without special tokens."""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Return the ids of `text`; with `special` also those that the tokenizer adds to a text."""
        return list(self.tokenizer.encode(text, add_special_tokens=special))


def load_voice(folder: Path) -> Voice:
    """Return the voice of a model folder; what ends an answer is as in its generation config."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer in {folder} has no eos_token, so answers could not end",
            fix="set eos_token in its tokenizer_config.json",
        )
    file = folder / "generation_config.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    stop = found.get("eos_token_id") or []
    ids = stop if isinstance(stop, list) else [stop]
    return Voice(tokenizer, frozenset({int(tokenizer.eos_token_id), *map(int, ids)}))
