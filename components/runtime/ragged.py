"""Rows of any lengths that take one token a step together, and may come and go at any step.

The keys and values of the rows lie in one cache, each from the front on, with nothing meant behind
a row's end. The attention of onnxruntime-genai's graphs takes the length of every row from the
mask and writes the new token at that row's own end, so nothing is shifted and nothing padded on
the left. Not every graph does so: `decodes_together` tries it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.runtime.ort import Cache, OrtLM

Logits = NDArray[np.float32]
ROOM = 64
"""Free places that a copy of the cache gets, so that the next steps need none."""

TRIED = (5, 2, 9)
"""Lengths of the rows that a graph is tried with."""


class Rows(Protocol):
    """Rows being decoded. Places count from 0 in the order of joining, without those dropped."""

    def join(self, prompt: Sequence[int]) -> Logits:
        """Read a prompt as a new last row; return the logits [vocabulary] behind it."""

    def step(self, tokens: Sequence[int]) -> Logits:
        """Give every row one token; return the logits [rows, vocabulary] behind them."""

    def drop(self, places: Sequence[int]) -> None:
        """Forget the rows at these places."""


class Apart:
    """Rows decoded one after the other: right for every model."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.caches: list[Any] = []

    def join(self, prompt: Sequence[int]) -> Logits:
        logits, cache = self.lm.forward(np.array([prompt], np.int64), last_only=True)
        self.caches.append(cache)
        last: Logits = logits[0, -1]
        return last

    def step(self, tokens: Sequence[int]) -> Logits:
        found = []
        for place, token in enumerate(tokens):
            ids = np.array([[token]], np.int64)
            logits, self.caches[place] = self.lm.forward(ids, self.caches[place], last_only=True)
            found.append(logits[0, -1])
        return np.stack(found)

    def drop(self, places: Sequence[int]) -> None:
        gone = set(places)
        self.caches = [cache for at, cache in enumerate(self.caches) if at not in gone]


class Together:
    """Rows decoded in one run of the graph a step.

    `cache` holds the rows of the last step, with free places behind them; `stay` are those of them
    that still count, and `fresh` the rows that joined since. One copy brings both together at the
    next step, or when the free places are used up.
    """

    def __init__(self, lm: OrtLM) -> None:
        self.lm = lm
        self.cache: Cache | None = None
        self.stay: list[int] = []
        self.fresh: list[Cache] = []
        self.changed = False

    def join(self, prompt: Sequence[int]) -> Logits:
        logits, cache = self.lm.forward(np.array([prompt], np.int64), last_only=True)
        self.fresh.append(cache)
        self.changed = True
        last: Logits = logits[0, -1]
        return last

    def step(self, tokens: Sequence[int]) -> Logits:
        cache = self.cache
        if cache is None or self.changed or cache.length == cache.places:
            cache = self._merge()
        logits, self.cache = self.lm.step(np.asarray(tokens, np.int64), cache)
        return logits

    def drop(self, places: Sequence[int]) -> None:
        gone, old = set(places), len(self.stay)
        self.fresh = [one for at, one in enumerate(self.fresh, start=old) if at not in gone]
        self.stay = [row for at, row in enumerate(self.stay) if at not in gone]
        self.changed = True

    def _merge(self) -> Cache:
        """Lay the caches [rows, heads, places, width] below each other, with room behind them."""
        old = [self.cache] if self.cache is not None and self.stay else []
        lengths = np.concatenate(
            [*(cache.lengths[self.stay] for cache in old), *(one.lengths for one in self.fresh)]
        )
        longest = int(lengths.max())
        values = {}
        for name in self.lm.past:
            parts = [cache.values[name].numpy()[self.stay] for cache in old]
            parts += [one.values[name].numpy() for one in self.fresh]
            shape = (len(lengths), parts[0].shape[1], longest + ROOM, parts[0].shape[3])
            whole, start = np.zeros(shape, parts[0].dtype), 0
            for part in parts:
                places = min(longest, part.shape[2])
                whole[start : start + len(part), :, :places] = part[:, :, :places]
                start += len(part)
            values[name] = self.lm._value(whole)
        self.stay, self.fresh, self.changed = list(range(len(lengths))), [], False
        return Cache(lengths, values)


def decodes_together(lm: OrtLM) -> bool:
    """Say whether this graph computes rows of different lengths as it computes them alone.

    Tries it: three rows of `TRIED` tokens, of which one leaves. A wrong graph is off by more than
    the logits' own size; a right one by rounding.
    """
    prompts = [list(range(10, 10 + length)) for length in TRIED]
    together, apart = Together(lm), Apart(lm)
    try:
        for prompt in prompts:
            together.join(prompt)
            apart.join(prompt)
        for left in ([], [1]):
            tokens = list(range(20, 20 + len(apart.caches)))
            found, expected = together.step(tokens), apart.step(tokens)
            if np.abs(found - expected).max() > 0.02 * np.abs(expected).max():
                return False
            together.drop(left)
            apart.drop(left)
    # A graph made otherwise may refuse in any way; its errors share no parent but Exception.
    except Exception:  # noqa: BLE001
        return False
    return True
