"""Rows of many lengths in one cache: all end at the same place, so they take tokens together.

Prompts are read without padding where the model's attention is the plain one, and then laid into
a cache that has room for the answers: a step writes its tokens there and copies nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from components.model.shared_prefix import attend

NAME = "tuneline_ragged"


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer in tensors that are longer than what is in them so far.

    `keys` and `values` are [rows, heads, capacity, width], of which `size` places are filled.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, size: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.whole = (keys, values)
        self._fill_to(size)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write [rows, heads, n, width] behind what is there; return all that is there then."""
        start, end = self.size, self.size + key_states.shape[2]
        for whole, new in zip(self.whole, (key_states, value_states), strict=True):
            whole[:, :, start:end] = new
        self._fill_to(end)
        return self.keys, self.values

    def of(self, rows: torch.Tensor) -> "RoomyLayer":
        """Return a layer of some of the rows, with the same room."""
        keys, values = (whole.index_select(0, rows) for whole in self.whole)
        return RoomyLayer(keys, values, self.size)

    def _fill_to(self, size: int) -> None:
        self.size = size
        self.keys, self.values = (whole[:, :, :size] for whole in self.whole)


@dataclass
class Ragged:
    """A cache of rows whose tokens end at one place; a step changes it.

    `seen` [rows, capacity] is true where a row has tokens, or will have; `lengths` [rows] says how
    many it has, which is the position of its next one.
    """

    cache: DynamicCache
    seen: torch.Tensor
    lengths: torch.Tensor

    @property
    def size(self) -> int:
        """How many places are filled."""
        return int(self.cache.layers[0].size)

    def of(self, rows: torch.Tensor) -> "Ragged":
        """Return the given rows, in that order."""
        return Ragged(
            cache_of([layer.of(rows) for layer in self.cache.layers]),
            self.seen.index_select(0, rows),
            self.lengths.index_select(0, rows),
        )

    def bias(self, dtype: torch.dtype) -> torch.Tensor:
        """Return [rows, 1, 1, 1, size + 1]: what is added to the scores of the next token."""
        seen = self.seen[:, : self.size + 1]
        hidden = torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
        return hidden[:, None, None, None]


class Shelf:
    """Where the rows of a batch are laid as they are read: each row's tokens end at place `size`.

    `lengths` are the tokens of each row and `room` is what each may add.
    """

    def __init__(self, lengths: Sequence[int], room: int, device: torch.device) -> None:
        self.lengths, self.size = list(lengths), max(lengths)
        self.capacity, self.device = self.size + room, device
        self.layers: list[RoomyLayer] = []

    def lay(self, rows: Sequence[int], past: Any, places: "np.ndarray[Any, Any]") -> None:
        """Keep what `past`, the cache of one forward, has of `rows`.

        `past` holds [1 or b, heads, n, width] a layer, and `places` [rows, size] says at which of
        its b · n places each token of a row lies; any place stands for padding.
        """
        index = torch.from_numpy(places.reshape(-1)).to(self.device)
        at = torch.as_tensor(list(rows), device=self.device)
        for number, layer in enumerate(past.layers):
            if number == len(self.layers):
                self.layers.append(self._new(layer))
            for whole, flat in zip(
                self.layers[number].whole, (layer.keys, layer.values), strict=True
            ):
                tokens = flat.transpose(1, 2).flatten(0, 1).index_select(0, index)
                part = tokens.view(len(rows), self.size, *tokens.shape[1:]).transpose(1, 2)
                whole[at, :, : self.size] = part

    def filled(self) -> Ragged:
        """Return the cache, once every row has been laid."""
        lengths = torch.tensor(self.lengths, device=self.device)
        before = torch.arange(self.capacity, device=self.device) - self.size
        return Ragged(cache_of(self.layers), before[None] >= -lengths[:, None], lengths)

    def _new(self, like: Any) -> RoomyLayer:
        shape = (len(self.lengths), like.keys.shape[1], self.capacity)
        keys, values = (one.new_empty(*shape, one.shape[3]) for one in (like.keys, like.values))
        return RoomyLayer(keys, values, self.size)


def cache_of(layers: Sequence[Any]) -> DynamicCache:
    """Return a cache of these layers."""
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache


def flat_places(p: int, tails: Sequence[int], size: int) -> "np.ndarray[Any, Any]":
    """Return [rows, size]: where each row's tokens lie in a flat cache of a prefix of `p` tokens
    and the rows' own `tails` end to end.
    """
    places = np.zeros((len(tails), size), np.int64)
    starts = p + np.cumsum([0, *tails[:-1]])
    for row, (start, tail) in enumerate(zip(starts, tails, strict=True)):
        places[row, size - tail :] = np.arange(start, start + tail)
        places[row, size - tail - p : size - tail] = np.arange(p)
    return places


def stacked_places(rows: int, width: int, size: int) -> "np.ndarray[Any, Any]":
    """Return [rows, size] for a cache of `rows` rows of `width` places, filled from the right."""
    places = np.zeros((rows, size), np.int64)
    places[:, size - width :] = np.arange(rows * width).reshape(rows, width)
    return places


def ragged_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    bias: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return (output [rows, 1, heads, width], None) for one new token a row.

    Heads that share keys read them where they lie. Transformers' SDPA copies keys and values for
    each of those heads when there is a mask.
    """
    scaled = query * (module.head_dim**-0.5 if scaling is None else scaling)
    return attend(scaled, key, value, bias).transpose(1, 2), None
