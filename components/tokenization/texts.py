"""Plain text for a masked-language model: its ids, between the tokens that the encoder wants."""

import json
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, ModelError
from components.contracts.task_types import MASKED_LM
from components.tokenization.encode import Columns
from components.tokenization.labelled import cut_at, load_encoder_tokenizer
from components.tokenization.lines import Line
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer


def load_masked_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of an encoder's folder; raise `ModelError` if it has no mask token."""
    tokenizer = load_encoder_tokenizer(folder)
    if tokenizer.hf.mask_token_id is None:
        raise ModelError(
            "the base model's tokenizer has no mask_token",
            fix="set mask_token in its tokenizer_config.json",
        )
    return tokenizer


def encode_texts(
    tokenizer: Tokenizer, columns: Columns, settings: TokenizationSettings, *, texts: bool = True
) -> list[Line]:
    """Return a line for each row: every token but the special ones may be hidden in training.

    Which are hidden is drawn anew in every epoch, so it is no part of the tokens. With `texts` the
    same ids are what is scored. A text that is too long is cut at its end if `truncation` is
    `truncate_prompt`. Raises `DataError` naming a row that is a conversation.
    """
    backend = tokenizer.hf.backend_tokenizer
    lines = []
    for row, one in enumerate(backend.encode_batch_fast(list(columns["text"]))):
        if json.loads(columns["messages"][row]):
            raise DataError(
                f"{columns['source'][row]}:{columns['row'][row]} has turns, but model.task_type "
                f"{MASKED_LM} reads plain text",
                fix="use format: {kind: text}",
            )
        ids, whole = one.ids, len(one.ids)
        if whole > settings.max_length and settings.truncation == "truncate_prompt":
            ids = cut_at(backend, columns["text"][row], settings.max_length)
        parts = [(at, at + 1) for at, token in enumerate(ids[1:]) if token not in tokenizer.special]
        scored = ids if texts else []
        cut = whole - len(ids)
        lines.append(Line(ids[:1], ids[1:], scored, tail_parts=parts, cut=cut, needed=len(ids)))
    return lines


def facts_of_masks(tokenizer: Tokenizer, settings: TokenizationSettings) -> dict[str, Any]:
    """Return what hides a token, and what is never hidden."""
    del settings
    return {
        "mask_token": int(tokenizer.hf.mask_token_id),
        "special_tokens": sorted(tokenizer.special),
        "vocabulary_size": len(tokenizer.hf),
    }
