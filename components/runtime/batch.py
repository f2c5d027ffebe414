"""Many prompts answered together, over any model with a key-value cache, without any padding.

Rows of a batch are read as far as the shortest prompt goes; from there on all take one token a
step: a row whose prompt goes on takes its next token from there, the others what they choose. So
every row of the batch always has one length, which every runtime computes right.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.runtime.generate import Generation, choose_token

Decode = Callable[[Sequence[int]], str]
CACHED = 24_576
"""Tokens that the cache of a batch may hold at its end: rows times (prompt and answer)."""

SPREAD = 16
"""Tokens between the shortest and the longest prompt of a batch: each costs one step for all."""


class BatchDecoder(Protocol):
    """What batched generation needs of a model."""

    def forward(
        self, ids: NDArray[np.int64], past: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]: ...

    def select(self, past: Any, rows: Sequence[int]) -> Any:
        """Return a cache of the given rows of `past`, in that order; a row may come again."""


@dataclass(frozen=True)
class Stop:
    """What ends an answer: a token of `ids`, or a text of `strings` in what `decode` makes of it.

    An answer that a text ends keeps it: the reader of the text cuts it off (`cut`).
    """

    ids: frozenset[int] = frozenset()
    strings: tuple[str, ...] = ()
    decode: Decode | None = None

    def __post_init__(self) -> None:
        if self.strings and self.decode is None:
            raise ModelError("texts that stop an answer need `decode`")

    def ends(self, answer: Sequence[int]) -> bool:
        """Say whether a stop text has come up; looks at the end of the answer only."""
        if not self.strings or self.decode is None:
            return False
        # A token is one byte at least, and what came before the last one was looked at before.
        tail = self.decode(answer[-(max(map(len, self.strings)) * 4 + 4) :])
        return any(text in tail for text in self.strings)


def cut(text: str, stops: Sequence[str]) -> str:
    """Return `text` up to the first of each stop text, taken in order."""
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text


@dataclass
class Row:
    """One prompt and what has been said after it so far."""

    index: int
    prompt: Sequence[int]
    random: np.random.Generator
    answer: list[int] = field(default_factory=list)
    done: bool = False

    def waits(self, length: int) -> bool:
        """Say whether the prompt holds a token for place `length`."""
        return length < len(self.prompt)


def generate_batch(
    model: BatchDecoder,
    prompts: Sequence[Sequence[int]],
    generation: Generation,
    stop: Stop | None = None,
    *,
    batch_size: int = 32,
) -> Iterator[tuple[int, list[int]]]:
    """Yield (index of the prompt, new token ids without the stop token), as rows come to their end.

    Prompts of like length are answered together. With sampling, every row has a random stream of
    its own, so a row's answer does not depend on its neighbours.

    Raises `ModelError` for an empty prompt.
    """
    if not all(len(prompt) for prompt in prompts):
        raise ModelError("a prompt has no tokens", fix="give at least one token to start from")
    shared = shared_start(prompts)
    past = (
        model.forward(np.array([prompts[0][:shared]], np.int64), last_only=True)[1]
        if shared
        else None
    )
    for group in batches(prompts, generation.max_new_tokens, batch_size):
        rows = [
            Row(index, prompts[index], np.random.default_rng([generation.seed, index]))
            for index in group
        ]
        start = model.select(past, [0] * len(rows)) if past is not None else None
        yield from _answer(model, rows, shared, start, generation, stop or Stop())


def _answer(
    model: BatchDecoder, rows: list[Row], shared: int, past: Any, generation: Generation, stop: Stop
) -> Iterator[tuple[int, list[int]]]:
    """Answer the rows of one batch behind the `shared` tokens that `past` holds."""
    length = min(len(row.prompt) for row in rows)
    step = np.array([row.prompt[shared:length] for row in rows], np.int64)
    while True:
        logits, past = model.forward(step, past, last_only=True)
        chosen = _next_tokens(rows, logits[:, -1], length, generation)
        for row, token in zip(rows, chosen, strict=True):
            if not row.waits(length) and not row.done:
                _take(row, int(token), generation, stop)
                if row.done:
                    yield row.index, row.answer
        alive = [place for place, row in enumerate(rows) if not row.done]
        if not alive:
            return
        if len(alive) <= 0.75 * len(rows):  # a copy of the cache, for cheaper steps after it
            past, chosen = model.select(past, alive), chosen[alive]
            rows = [rows[place] for place in alive]
        step, length = chosen[:, None], length + 1


def _next_tokens(
    rows: Sequence[Row], logits: NDArray[np.float32], length: int, generation: Generation
) -> NDArray[np.int64]:
    """Return the token at place `length` of every row: the prompt's own, or the one chosen."""
    chosen: NDArray[np.int64] = logits.argmax(axis=-1).astype(np.int64)
    greedy = generation.temperature == 0 and generation.repetition_penalty == 1.0
    for place, row in enumerate(rows):
        if row.waits(length):
            chosen[place] = row.prompt[length]
        elif not greedy and not row.done:
            seen = [*row.prompt, *row.answer]
            chosen[place] = choose_token(logits[place], seen, generation, row.random)
    return chosen


def _take(row: Row, token: int, generation: Generation, stop: Stop) -> None:
    if token in stop.ids:
        row.done = True
        return
    row.answer.append(token)
    row.done = len(row.answer) >= generation.max_new_tokens or stop.ends(row.answer)


def batches(
    prompts: Sequence[Sequence[int]], new_tokens: int, batch_size: int
) -> Iterator[list[int]]:
    """Yield indices of prompts of like length, as many as `batch_size` and `CACHED` allow."""
    group: list[int] = []
    for index in sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i)):
        size = len(prompts[index])
        if group and (
            len(group) == batch_size
            or size - len(prompts[group[0]]) > SPREAD
            or (len(group) + 1) * (size + new_tokens) > CACHED
        ):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def shared_start(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving one of each; 0 if it is not worth it.

    Behind a cache, some runtimes read the rows of a batch one by one: it has to be half of them.
    """
    if len(prompts) < 2:
        return 0
    low, high = min(prompts, key=list), max(prompts, key=list)
    same, limit = 0, min(map(len, prompts)) - 1
    while same < limit and low[same] == high[same]:
        same += 1
    return same if same >= 0.5 * sum(map(len, prompts)) / len(prompts) else 0
