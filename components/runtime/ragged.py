"""Rows of any lengths that take one token a step together, and may come and go at any step.

The keys and values of the rows lie in one cache, each from the front on, with nothing meant behind
a row's end. The attention of onnxruntime-genai's graphs takes the length of every row from the
mask and writes the new token at that row's own end, so nothing is shifted and nothing padded on
the left. Not every graph does so: `decodes_together` tries it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.runtime.batch import Row, Stop, shared_start
from components.runtime.generate import Generation, choose_token
from components.runtime.ort import FEEDS, Cache, OrtLM

Logits = NDArray[np.float32]
TRIED = (5, 2, 9)
"""Lengths of the rows that a graph is tried with."""


class Rows(Protocol):
    """Rows being decoded. Places count from 0 in the order of joining, without those dropped."""

    def join(self, prompt: Sequence[int], past: Any = None) -> Logits:
        """Read a prompt as a new last row, behind the cache `past` of one row if there is one.

        Returns the logits [vocabulary] behind it.
        """

    def step(self, tokens: Sequence[int]) -> Logits:
        """Give every row one token; return the logits [rows, vocabulary] behind them."""

    def drop(self, places: Sequence[int]) -> None:
        """Forget the rows at these places."""


class Apart:
    """Rows decoded one after the other: right for every model."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.caches: list[Any] = []

    def join(self, prompt: Sequence[int], past: Any = None) -> Logits:
        logits, cache = self.lm.forward(np.array([prompt], np.int64), past, last_only=True)
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

    `values` holds the rows of the last step; `stay` are those of them that still count, and `fresh`
    the rows that joined since. One copy at the next step brings both together.
    """

    def __init__(self, lm: OrtLM) -> None:
        self.lm = lm
        self.lengths: list[int] = []
        self.values: dict[str, Any] = {}
        self.stay: list[int] = []
        self.fresh: list[Cache] = []
        self.changed = False

    def join(self, prompt: Sequence[int], past: Any = None) -> Logits:
        logits, cache = self.lm.forward(np.array([prompt], np.int64), past, last_only=True)
        self.lengths.append(cache.ids.shape[1])
        self.fresh.append(cache)
        self.changed = True
        last: Logits = logits[0, -1]
        return last

    def step(self, tokens: Sequence[int]) -> Logits:
        if self.changed:
            self._merge()
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
        gone, old = set(places), len(self.stay)
        self.lengths = [length for at, length in enumerate(self.lengths) if at not in gone]
        self.fresh = [one for at, one in enumerate(self.fresh, start=old) if at not in gone]
        self.stay = [row for at, row in enumerate(self.stay) if at not in gone]
        self.changed = True

    def _merge(self) -> None:
        """Lay the caches [rows, heads, length, size] below each other, as long as the longest."""
        rows, longest = len(self.lengths), max(self.lengths)
        merged = {}
        for name in self.lm.past:
            old = [self.values[name].numpy()[self.stay]] if self.stay else []
            parts = [*old, *(cache.values[name].numpy() for cache in self.fresh)]
            whole = np.zeros((rows, parts[0].shape[1], longest, parts[0].shape[3]), parts[0].dtype)
            start = 0
            for part in parts:
                length = min(longest, part.shape[2])
                whole[start : start + len(part), :, :length] = part[:, :, :length]
                start += len(part)
            merged[name] = self.lm._value(whole)
        self.values, self.stay = merged, list(range(rows))
        self.fresh, self.changed = [], False


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


def answer_rows(
    lm: Any,
    prompts: Sequence[Sequence[int]],
    generation: Generation,
    stop: Stop,
    *,
    batch_size: int,
) -> Iterator[tuple[int, list[int]]]:
    """Do what `generate_batch` does, with the very tokens that one row alone would give.

    Every prompt is read by itself, behind what all begin with, and takes the place of a row that
    came to its end: so the numbers of a row do not depend on its neighbours.
    """
    rows = Together(lm)
    shared = shared_start(prompts)
    start = np.array([list(prompts[0][:shared])], np.int64) if shared else None
    past = None if start is None else lm.forward(start, last_only=True)[1]
    waiting = deque(sorted(range(len(prompts)), key=lambda at: len(prompts[at])))
    live: list[Row] = []
    while waiting or live:
        while waiting and len(live) < batch_size:
            index = waiting.popleft()
            prompt = prompts[index]
            row = Row(index, prompt, np.random.default_rng([generation.seed, index]))
            live.append(row)
            _take(row, rows.join(prompt[shared:], past), generation, stop)
        gone = [at for at, row in enumerate(live) if row.done]
        if gone:
            yield from ((live[at].index, live[at].answer) for at in gone)
            rows.drop(gone)
            live = [row for row in live if not row.done]
            continue  # others take their places before the next step
        logits = rows.step([row.answer[-1] for row in live])
        for row, scores in zip(live, logits, strict=True):
            _take(row, scores, generation, stop)


def _take(row: Row, logits: Logits, generation: Generation, stop: Stop) -> None:
    seen = [*row.prompt, *row.answer] if generation.repetition_penalty != 1 else ()
    token = choose_token(logits, seen, generation, row.random)
    row.done = token in stop.ids
    if not row.done:
        row.answer.append(token)
        row.done = len(row.answer) >= generation.max_new_tokens or stop.ends(row.answer)
