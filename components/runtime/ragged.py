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

from components.runtime.ort import FEEDS, OrtLM

Logits = NDArray[np.float32]
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
    """Rows decoded in one run of the graph a step."""

    def __init__(self, lm: OrtLM) -> None:
        self.lm = lm
        self.lengths: list[int] = []
        self.values: dict[str, Any] = {}

    def join(self, prompt: Sequence[int]) -> Logits:
        logits, cache = self.lm.forward(np.array([prompt], np.int64), last_only=True)
        rows = {name: [value.numpy() for value in self._value(name)] for name in self.lm.past}
        self.lengths.append(len(prompt))
        for name, value in cache.values.items():
            parts = [*rows[name], value.numpy()]
            self._keep(name, parts)
        last: Logits = logits[0, -1]
        return last

    def step(self, tokens: Sequence[int]) -> Logits:
        lengths = np.asarray(self.lengths, np.int64)
        feeds = {
            "input_ids": np.asarray(tokens, np.int64)[:, None],
            "attention_mask": (np.arange(lengths.max() + 1) <= lengths[:, None]).astype(np.int64),
            "position_ids": lengths[:, None].copy(),
        }
        binding = self.lm.session.io_binding()
        for name in FEEDS & self.lm.inputs.keys():
            binding.bind_cpu_input(name, feeds[name])
        for name, value in self.values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        for name in self.lm.past.values():
            binding.bind_output(name, self.lm.device)
        self.lm.session.run_with_iobinding(binding)
        logits, *values = binding.get_outputs()
        self.values = dict(zip(self.lm.past, values, strict=True))
        self.lengths = [length + 1 for length in self.lengths]
        last: Logits = logits.numpy()[:, -1].astype(np.float32)
        return last

    def drop(self, places: Sequence[int]) -> None:
        stay = [at for at in range(len(self.lengths)) if at not in set(places)]
        self.lengths = [self.lengths[at] for at in stay]
        if not stay:
            self.values = {}
            return
        for name in self.lm.past:
            self._keep(name, [self.values[name].numpy()[stay]])

    def _value(self, name: str) -> list[Any]:
        return [self.values[name]] if self.lengths else []

    def _keep(self, name: str, parts: Sequence[NDArray[Any]]) -> None:
        """Lay caches [rows, heads, length, size] below each other, as long as the longest row."""
        longest = max(self.lengths)
        rows = sum(len(part) for part in parts)
        _, heads, _, size = parts[0].shape
        whole = np.zeros((rows, heads, longest, size), parts[0].dtype)
        start = 0
        for part in parts:
            length = min(longest, part.shape[2])
            whole[start : start + len(part), :, :length] = part[:, :, :length]
            start += len(part)
        self.values[name] = self.lm._value(whole)


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
