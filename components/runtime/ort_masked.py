"""An exported masked-language model in ONNX Runtime.

Needs nothing but numpy, onnxruntime, tokenizers and `components.contracts`, so that a
registered model can carry this file along.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.contracts.lengths import context_length
from components.runtime.ort_classifier import FILE, Turn, read_config, read_tokenizer, text_of
from components.runtime.padding import groups, padded
from components.runtime.session import Device, cpus, open_session

BATCH_TOKENS = 1024
"""Tokens of one run, padding counted: all of them have logits."""

Logits = NDArray[np.float32]


def is_masked(folder: Path) -> bool:
    """Say whether an exported folder holds a masked-language model."""
    if not (folder / "config.json").is_file():
        return False
    names = read_config(folder).get("architectures") or [""]
    return str(names[0]).endswith("ForMaskedLM")


class OrtMasked:
    """A graph from `input_ids` and `attention_mask` [texts, tokens] to `logits` [texts, tokens,
    vocabulary].

    `threads=0` takes every CPU of this process. Raises `ModelError` when the folder is not such a
    model, or when the device is not to be had.
    """

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        config = read_config(folder)
        self.pad = int(config.get("pad_token_id") or 0)
        self.context_length = context_length(config)
        self.session = open_session(folder / FILE, threads or cpus(), device)
        self.sessions = (self.session,)
        shapes = [value.shape for value in self.session.get_outputs()]
        if not is_masked(folder) or len(shapes[0]) != 3:
            raise ModelError(
                f"{folder} is not an exported masked-language model",
                fix="export the model again with tuneline",
            )

    def token_logits(
        self, rows: Sequence[Sequence[int]], places: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.masked.MaskedLM`; raises `ModelError` for too long a text."""
        longest = max(map(len, rows), default=0)
        if self.context_length is not None and longest > self.context_length:
            raise ModelError(
                f"{longest} tokens do not fit the model's context of {self.context_length}",
                fix="shorten the text",
            )
        for group in groups(rows, BATCH_TOKENS):
            ids, mask = padded([rows[index] for index in group], self.pad)
            found = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
            for at, index in enumerate(group):
                yield index, found[at, list(places[index])].astype(np.float32, copy=False)


class FillModel:
    """An exported folder that answers a text with the same text, its hidden places filled."""

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        self.folder, self.threads, self.device = folder, threads, device
        self.tokenizer = read_tokenizer(folder)
        self.mask = mask_token(folder)

    @cached_property
    def model(self) -> OrtMasked:
        return OrtMasked(self.folder, threads=self.threads, device=self.device)

    def answer(self, prompt: str | Sequence[Turn], **settings: Any) -> str:
        """Return a text with the likeliest token at every mask token in it.

        Each is chosen by itself. Raises `ModelError` for a text that hides nothing. `settings` are
        how a decoder chooses tokens.
        """
        del settings
        ids = list(self.tokenizer.encode(text_of(prompt)).ids)
        wanted = self.tokenizer.token_to_id(self.mask)
        places = [at for at, token in enumerate(ids) if token == wanted]
        if not places:
            raise ModelError(
                "the text hides nothing, so there is nothing to fill",
                fix=f"write {self.mask} where a token is to be told",
            )
        ((_, logits),) = self.model.token_logits([ids], [places])
        for at, token in zip(places, logits.argmax(axis=-1), strict=True):
            ids[at] = int(token)
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def asking(self, text: str) -> str:
        """Return `text` with its longest word hidden: a question that this model can answer."""
        longest = max(text.split(), key=len, default="")
        return text.replace(longest, self.mask, 1) if longest else self.mask


def mask_token(folder: Path) -> str:
    """Return how the mask token is written; raise `ModelError` if the tokenizer has none."""
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text(encoding="utf-8")).get("mask_token")
    found = told["content"] if isinstance(told, dict) else told
    if not found:
        raise ModelError(f"{folder} has no mask_token", fix="run the export again")
    return str(found)
