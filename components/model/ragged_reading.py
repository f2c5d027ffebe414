"""Prompts of many lengths read together, and then a token a row in every step: in torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from components.model.ragged import NAME, Ragged, Shelf, flat_places, ragged_attention
from components.model.ragged import stacked_places as stacked
from components.model.shared_prefix import attending, attends_plainly
from components.model.torch_lm import TorchLM, chunks
from components.scoring.lm import Ids, Logits


def begin(
    lm: TorchLM, prefix: Sequence[int], rows: Sequence[Sequence[int]], room: int
) -> tuple[Logits, Ragged]:
    """Return the logits [rows, vocabulary] behind each prompt, and the cache of all of them."""
    shelf = Shelf([len(prefix) + len(row) for row in rows], room, lm.model.device)
    plain = attends_plainly(lm.model, shelf.capacity)
    lay = lay_flat if plain else lay_padded
    logits: list[Any] = [None] * len(rows)
    with torch.inference_mode():
        for chunk in chunks(list(map(len, rows)), [1] * len(rows)):
            last = lay(lm, shelf, chunk, prefix, [rows[index] for index in chunk])
            for index, row in zip(chunk, last, strict=True):
                logits[index] = row
        return np.stack(logits), shelf.filled()


def step(lm: TorchLM, tokens: Ids, past: Ragged) -> Logits:
    """Read one more token a row, `tokens` [rows], into `past`; return logits [rows, vocabulary]."""
    ids, positions = tokens[:, None], past.lengths[:, None]
    with torch.inference_mode():
        if attends_plainly(lm.model, past.seen.shape[1]):
            with attending(lm.model, NAME, ragged_attention):
                bias = past.bias(lm.model.dtype)
                output = lm.call(ids, past.cache, position_ids=positions, bias=bias)
        else:
            seen = past.seen[:, : past.size + 1].long()
            output = lm.call(ids, past.cache, position_ids=positions, attention_mask=seen)
        past.lengths += 1
    return as_logits(output)


def lay_flat(
    lm: TorchLM,
    shelf: Shelf,
    chunk: list[int],
    prefix: Sequence[int],
    rows: Sequence[Sequence[int]],
) -> Logits:
    """Read rows end to end behind a prefix that is read once, and lay them on the shelf.

    Returns the logits [rows, vocabulary] behind the last tokens.
    """
    p, past = len(prefix), lm.read_prefix(tuple(prefix))
    logits, cache = lm.read_flat(p, past, rows, [1] * len(rows))
    shelf.lay(chunk, cache, flat_places(p, list(map(len, rows)), shelf.size))
    return logits


def lay_padded(
    lm: TorchLM,
    shelf: Shelf,
    chunk: list[int],
    prefix: Sequence[int],
    rows: Sequence[Sequence[int]],
) -> Logits:
    """Do the same with rows side by side, padded on the left: for other kinds of attention."""
    longest = len(prefix) + max(map(len, rows))
    pads = [longest - len(prefix) - len(row) for row in rows]
    ids = np.array(
        [[*[0] * pad, *prefix, *row] for pad, row in zip(pads, rows, strict=True)], np.int64
    )
    places = np.arange(longest)[None] - np.array(pads)[:, None]
    output = lm.call(
        ids,
        None,
        attention_mask=lm.tensor(places >= 0),
        position_ids=lm.tensor(np.maximum(places, 0)),
        logits_to_keep=1,
    )
    shelf.lay(chunk, output.past_key_values, stacked(len(rows), longest, shelf.size))
    return as_logits(output)


def as_logits(output: Any) -> Logits:
    logits: Logits = output.logits[:, -1].float().cpu().numpy()
    return logits
