"""Perplexity over documents: by token, word and byte, never a mean of documents' perplexities."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.contracts.events import Events, Silent
from components.scoring.lm import CausalLM
from components.scoring.score import normalizers
from components.scoring.windows import Tokens, Window, windows


@dataclass(frozen=True)
class Reading:
    """How documents are read: `max_length` tokens at once, `stride` as in `windows`."""

    prefix_token: int
    max_length: int
    stride: int | None = None


@dataclass(frozen=True)
class Document:
    """A text as token ids, with what its perplexities are counted by."""

    id: str
    tokens: Tokens
    words: int
    bytes: int


def count_words(text: str) -> int:
    """Return how many pieces white space cuts `text` into, as lm-eval counts words.

    White space at either end makes an empty piece, and an empty text is one piece.
    """
    return len(re.split(r"\s+", text))


def score_documents(
    lm: CausalLM,
    documents: Sequence[Document],
    reading: Reading,
    *,
    events: Events | None = None,
    label: str = "perplexity",
) -> list[float]:
    """Return the negative log-likelihood of each document in nats, in order."""
    events = events or Silent()
    parts: list[tuple[int, Window]] = [
        (place, window)
        for place, document in enumerate(documents)
        for window in windows(
            document.tokens,
            prefix_token=reading.prefix_token,
            max_length=reading.max_length,
            stride=reading.stride,
        )
    ]
    rows = [window.read for _, window in parts]
    keep = [len(window.predicted) for _, window in parts]
    found = [0.0] * len(parts)
    for done, (index, logits) in enumerate(lm.read((), rows, keep), start=1):
        ids = np.array(parts[index][1].predicted)
        floor, _ = normalizers(logits)
        found[index] = float((floor - logits[np.arange(len(ids)), ids]).sum())
        events.progress(label, done, len(parts))
    # Added up in the order of the text, whatever order the model took: the same sum each time.
    nll = [0.0] * len(documents)
    for (place, _), value in zip(parts, found, strict=True):
        nll[place] += value
    return nll
