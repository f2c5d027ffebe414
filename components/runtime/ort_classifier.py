"""An exported encoder with a head for labels, in ONNX Runtime.

Needs nothing but numpy, onnxruntime, tokenizers and `components.contracts`, so that a
registered model can carry this file along.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.contracts.lengths import context_length
from components.runtime.padding import groups, padded
from components.runtime.session import Device, cpus, open_session

FILE = "model.onnx"
BATCH_TOKENS = 2048
"""Tokens of one run, padding counted."""

Logits = NDArray[np.float32]
Turn = Mapping[str, Any]


class OrtClassifier:
    """A graph from `input_ids` and `attention_mask` [texts, tokens] to `logits` [texts, labels].

    `threads=0` takes every CPU of this process. Raises `ModelError` when the folder is not such a
    model, or when the device is not to be had.
    """

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        config = read_config(folder)
        names = config.get("id2label") or {}
        self.labels = tuple(str(names[key]) for key in sorted(names, key=int))
        self.pad = int(config.get("pad_token_id") or 0)
        self.context_length = context_length(config)
        self.session = open_session(folder / FILE, threads or cpus(), device)
        self.sessions = (self.session,)
        inputs = [value.name for value in self.session.get_inputs()]
        if sorted(inputs) != ["attention_mask", "input_ids"] or not self.labels:
            raise ModelError(
                f"{folder} is not an exported classifier: its inputs are {', '.join(inputs)}",
                fix="export the model again with tuneline",
            )

    def label_logits(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.labels.Classifier`; raises `ModelError` for too long a text."""
        longest = max(map(len, rows), default=0)
        if self.context_length is not None and longest > self.context_length:
            raise ModelError(
                f"{longest} tokens do not fit the model's context of {self.context_length}",
                fix="shorten the text",
            )
        for group in groups(rows, BATCH_TOKENS):
            ids, mask = padded([rows[index] for index in group], self.pad)
            found = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
            yield from zip(group, found.astype(np.float32, copy=False), strict=True)


def read_tokenizer(folder: Path) -> Any:
    """Return an encoder's tokenizer: a server gets texts of any length, what can be read is read.

    Raises `ModelError` if the folder has none.
    """
    from tokenizers import Tokenizer

    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} has no tokenizer.json", fix="run the export again")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    limit = context_length(read_config(folder))
    if limit is not None:
        tokenizer.enable_truncation(limit)
    return tokenizer


class LabelModel:
    """An exported folder that answers a text with its label, as `TextModel` answers with text."""

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        self.folder, self.threads, self.device = folder, threads, device
        self.tokenizer = read_tokenizer(folder)

    @cached_property
    def model(self) -> OrtClassifier:
        return OrtClassifier(self.folder, threads=self.threads, device=self.device)

    def answer(self, prompt: str | Sequence[Turn], **settings: Any) -> str:
        """Return the likeliest label of a text, or of the last user's turn among messages.

        `settings` are how a decoder chooses tokens; there are none to choose.
        """
        del settings
        found = self.probabilities([text_of(prompt)])[0]
        return max(found, key=found.__getitem__)

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return the probability of every label, for each text."""
        rows = [self.tokenizer.encode(text).ids for text in texts]
        found: dict[int, dict[str, float]] = {}
        for index, logits in self.model.label_logits(rows):
            weights = np.exp(logits.astype(np.float64) - float(logits.max()))
            shares = (weights / weights.sum()).tolist()
            found[index] = dict(zip(self.model.labels, shares, strict=True))
        return [found[index] for index in range(len(rows))]


def text_of(prompt: str | Sequence[Turn]) -> str:
    """Return the text to label; raise `ModelError` if no turn is the user's."""
    if isinstance(prompt, str):
        return prompt
    asked = [str(turn["content"]) for turn in prompt if turn["role"] == "user"]
    if not asked:
        raise ModelError("no turn is the user's: there is nothing to label", fix="give a text")
    return asked[-1]


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's `config.json`; raise `ModelError` if it has none."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{folder} is not an exported classifier: config.json cannot be read",
            fix="run the export again",
        ) from error
    return config
