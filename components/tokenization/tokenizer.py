"""The base model's tokenizer and its special tokens, loaded without torch where possible."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError, did_you_mean
from components.tokenization.encoder import Encoder, make_encoder
from components.tokenization.template import ChatTemplate

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Tokens:
    """Token ids with a meaning. `stop` are all ids that end an answer, `eos` the tokenizer's own.

    `adds_bos` says whether the tokenizer puts `bos` before every text by itself.
    """

    bos: int | None
    eos: int
    pad: int | None
    stop: tuple[int, ...]
    adds_bos: bool


@dataclass(frozen=True)
class Tokenizer:
    """A transformers tokenizer with what the line needs to know about it."""

    hf: Any
    tokens: Tokens
    encoder: Encoder
    template: ChatTemplate | None

    @property
    def chat(self) -> ChatTemplate:
        """The chat template; raise `ModelError` if there is none."""
        if self.template is None:
            raise ModelError(
                "the base model's tokenizer has no chat template",
                fix="take an instruct model, or format.kind: text",
            )
        return self.template

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts whose special tokens, if any, are written out."""
        return self.encoder.encode(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens written out."""
        return str(
            self.hf.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    @cached_property
    def special(self) -> frozenset[int]:
        """The ids of all special tokens."""
        return frozenset(self.hf.all_special_ids)

    def token(self, index: int) -> str:
        """Return the spelling of one token."""
        return str(self.hf.convert_ids_to_tokens(index))

    def prefix(self, wanted: str) -> int:
        """Return the id of the token that text is scored after; see `TokenizationSettings`."""
        vocabulary = self.hf.get_vocab()
        if wanted != "auto":
            if wanted not in vocabulary:
                special = list(self.hf.all_special_tokens)
                raise ModelError(
                    f"tokenization.prefix_token '{wanted}' is not in the vocabulary"
                    f"{did_you_mean(wanted, special)}",
                    fix=f"use auto or a token, for example one of: {', '.join(special)}",
                )
            return int(vocabulary[wanted])
        if self.tokens.adds_bos and self.tokens.bos is not None:
            return self.tokens.bos
        return int(vocabulary.get(END_OF_TEXT, self.tokens.eos))


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model folder; raise `ModelError` if it has no end-of-sequence."""
    hf = _load(folder)
    if hf.eos_token_id is None:
        raise ModelError(
            "the base model's tokenizer has no eos_token, so answers could not end",
            fix="set eos_token in its tokenizer_config.json",
        )
    first = hf("a")["input_ids"][:1]
    tokens = Tokens(
        bos=hf.bos_token_id,
        eos=hf.eos_token_id,
        pad=hf.pad_token_id,
        stop=tuple(sorted({hf.eos_token_id, *generation_eos(folder)})),
        adds_bos=hf.bos_token_id is not None and first == [hf.bos_token_id],
    )
    template = hf.chat_template
    if isinstance(template, dict):  # several by name: transformers, too, takes this one
        template = template.get("default")
    chat = ChatTemplate(template, dict(hf.special_tokens_map)) if template else None
    return Tokenizer(hf, tokens, make_encoder(hf), chat)


def _load(folder: Path) -> Any:
    if (folder / "tokenizer.json").is_file():
        # AutoTokenizer would read the model's config first and import torch for it: 8 s, not 2.
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def generation_eos(folder: Path) -> list[int]:
    """Return the ids that end an answer by the folder's generation config.

    Chat models often end a turn with another token than the tokenizer's eos_token.
    """
    file = folder / "generation_config.json"
    if not file.is_file():
        return []
    value = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
