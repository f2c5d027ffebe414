"""Many prompts answered together, over any model with a key-value cache.

The prompts of a batch are read at once, whatever their lengths; then every row takes a token a
step. How rows of many lengths lie in one cache is the runtime's own business.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.runtime.generate import Decoder, Generation, choose_token, first_seen

Decode = Callable[[Sequence[int]], str]
CACHED = 24_576
"""Tokens that the cache of a batch may hold at its end: rows times (prompt and answer)."""


class BatchDecoder(Decoder, Protocol):
    """What batched generation needs of a model."""

    def select(self, past: Any, rows: Sequence[int]) -> Any:
        """Return a cache of the given rows of `past`, in that order."""


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
    """One prompt and what has been said after it so far; `seen` is what repeating it would be."""

    index: int
    prompt: Sequence[int]
    seen: Sequence[int]
    random: np.random.Generator
    answer: list[int] = field(default_factory=list)
    done: bool = False


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
    for group in batches(prompts, generation.max_new_tokens, batch_size):
        rows = [
            Row(
                index,
                prompts[index],
                first_seen(model, prompts[index]),
                np.random.default_rng([generation.seed, index]),
            )
            for index in group
        ]
        yield from _answer(model, rows, shared, generation, stop or Stop())


def _answer(
    model: BatchDecoder, rows: list[Row], shared: int, generation: Generation, stop: Stop
) -> Iterator[tuple[int, list[int]]]:
    """Answer the rows of one batch, whose prompts have their first `shared` tokens in common."""
    prefix, tails = rows[0].prompt[:shared], [row.prompt[shared:] for row in rows]
    logits, past = model.begin(prefix, tails, generation.max_new_tokens)
    while True:
        tokens = _next_tokens(rows, logits, generation)
        for row, token in zip(rows, tokens, strict=True):
            if not row.done:
                _take(row, int(token), generation, stop)
                if row.done:
                    yield row.index, row.answer
        alive = [place for place, row in enumerate(rows) if not row.done]
        if not alive:
            return
        if len(alive) <= 0.75 * len(rows):  # a copy of the cache, for cheaper steps after it
            past, tokens = model.select(past, alive), tokens[alive]
            rows = [rows[place] for place in alive]
        logits, past = model.step(tokens, past)


def _next_tokens(
    rows: Sequence[Row], logits: NDArray[np.float32], generation: Generation
) -> NDArray[np.int64]:
    """Return the token that every row chooses; what rows that are done choose means nothing."""
    chosen: NDArray[np.int64] = logits.argmax(axis=-1).astype(np.int64)
    if generation.temperature == 0 and generation.repetition_penalty == 1.0:
        return chosen
    for place, row in enumerate(rows):
        if not row.done:
            seen = [*row.seen, *row.answer]
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
    """Yield indices of prompts by length, as many as `batch_size` and `CACHED` allow."""
    group: list[int] = []
    for index in sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i)):
        most = max(1, min(batch_size, CACHED // (len(prompts[index]) + new_tokens)))
        if len(group) >= most:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def shared_start(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving one of each; 0 for a single prompt."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompts, key=list), max(prompts, key=list)
    same, limit = 0, min(map(len, prompts)) - 1
    while same < limit and low[same] == high[same]:
        same += 1
    return same
