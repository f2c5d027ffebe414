"""A model's token ids as text: what is needed to read what it writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError


@dataclass(frozen=True)
class Voice:
    """`tokenizer` is that of transformers; a token of `stop_ids` ends an answer.

    `source_apart`: the model is an encoder-decoder. A prompt is a source of its own, plain text
    with the tokens that the tokenizer adds, and an answer is not behind it but written to it.
    """

    tokenizer: Any
    stop_ids: frozenset[int]
    source_apart: bool = False

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

    def encode_prompt(self, text: str, *, special: bool) -> list[int]:
        """Return the ids of a whole prompt; a source always has its special tokens."""
        return self.encode(text, special=special or self.source_apart)


def load_voice(folder: Path) -> Voice:
    """Return the voice of a model folder; what ends an answer is as in its generation config."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    told = folder / "config.json"
    config = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    source_apart = bool(config.get("is_encoder_decoder"))
    # transformers' class for T5 builds another tokenizer around the vocabulary of tokenizer.json.
    kind = PreTrainedTokenizerFast if source_apart else AutoTokenizer
    tokenizer = kind.from_pretrained(str(folder), local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer in {folder} has no eos_token, so answers could not end",
            fix="set eos_token in its tokenizer_config.json",
        )
    file = folder / "generation_config.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    stop = found.get("eos_token_id") or []
    ids = stop if isinstance(stop, list) else [stop]
    ends = frozenset({int(tokenizer.eos_token_id), *map(int, ids)})
    return Voice(tokenizer, ends, source_apart)
