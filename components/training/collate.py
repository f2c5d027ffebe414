"""Rows → tensors: padded, packed end to end, or behind one shared prefix; rows never see others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.tables import IGNORED
from components.model.shared_prefix import lay_out, positions
from components.training.rows import Row

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inputs:
    """What one forward takes (`arguments`), the labels [batch, n], and non-padding tokens."""

    arguments: dict[str, Any]
    labels: "torch.Tensor"
    tokens: int


def pad(rows: Sequence[Row], device: "torch.device") -> Inputs:
    """Stack rows [batch, longest], padded on the right.

    The padding id is 0: it is masked in attention and ignored in the loss, never told by its id
    (the padding token is the end-of-sequence token in many tokenizers).
    """
    width = max(len(row.input_ids) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
    for place, row in enumerate(rows):
        length = len(row.input_ids)
        ids[place, :length] = row.input_ids
        mask[place, :length] = 1
        labels[place, :length] = row.labels
    arguments = {"input_ids": move(ids, device), "attention_mask": move(mask, device)}
    return Inputs(arguments, move(labels, device), int(mask.sum()))


def pack(rows: Sequence[Row], device: "torch.device") -> Inputs:
    """Lay rows end to end [1, tokens], positions restarting at 0 with every row.

    transformers turns restarted positions into a block mask only when there is no cache and no
    attention mask; with either, rows would see each other in silence. The first label of a row is
    ignored, so the last token of one row never predicts the first of the next.
    """
    ids = np.concatenate([row.input_ids for row in rows])
    places = np.concatenate([np.arange(len(row.input_ids)) for row in rows])
    labels = np.concatenate([row.labels for row in rows])
    labels[places == 0] = IGNORED
    arguments = {
        "input_ids": move(ids[None], device),
        "position_ids": move(places[None], device),
    }
    return Inputs(arguments, move(labels[None], device), len(ids))


def share_prefix(
    rows: Sequence[Row], device: "torch.device", dtype: "torch.dtype | None" = None
) -> Inputs:
    """Lay rows end to end [1, tokens] behind what they all begin with, once.

    Only tokens that are not trained go into the prefix, and at least one such token stays with
    each row: so the first token of a row is never a label, and no row predicts the next one's.
    """
    import torch

    p = shared_length(rows)
    tails = [len(row.input_ids) - p for row in rows]
    parts = [rows[0].input_ids[:p], *(row.input_ids[p:] for row in rows)]
    labels = [np.full(p, IGNORED), *(row.labels[p:] for row in rows)]
    starts = np.cumsum([p, *tails])[:-1]
    flat_labels = np.concatenate(labels)
    flat_labels[starts] = IGNORED
    arguments = {
        "input_ids": move(np.concatenate(parts)[None], device),
        "position_ids": move(positions(p, tails)[None], device),
        "layout": lay_out(p, tails, device, dtype or torch.float32),
    }
    tokens = sum(len(row.input_ids) for row in rows)
    return Inputs(arguments, move(flat_labels[None], device), tokens)


def shared_length(rows: Sequence[Row]) -> int:
    """Return how many tokens all rows begin with, short of the last untrained one of any row."""
    limit = min(int((row.labels[1:] != IGNORED).argmax()) for row in rows)
    first = rows[0].input_ids[:limit]
    same = np.logical_and.reduce([row.input_ids[:limit] == first for row in rows])
    return limit if same.all() else int(same.argmin())


def move(array: NDArray[np.int64], device: "torch.device") -> "torch.Tensor":
    """Return `array` as a tensor on `device`."""
    import torch

    return torch.from_numpy(array).to(device, non_blocking=True)
