"""Greedy and sampled generation over any model with a key-value cache, on numpy alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError


class Decoder(Protocol):
    """What generation needs of a model with a key-value cache."""

    def begin(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], room: int
    ) -> tuple[NDArray[np.float32], Any]:
        """Read every row behind the same `prefix`; `room` is how many tokens each may add.

        Returns the logits [rows, vocabulary] behind the last tokens, and a cache of all rows. Rows
        have one token or more.
        """

    def step(self, tokens: NDArray[np.int64], past: Any) -> tuple[NDArray[np.float32], Any]:
        """Read one more token a row, `tokens` [rows]; return logits [rows, vocabulary] and cache.

        `past` is used up: only the cache that comes back may be read from.
        """


@dataclass(frozen=True)
class Generation:
    """How to choose the next token, in the words of transformers' GenerationConfig.

    `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 keep all tokens. Filters apply in the order
    repetition penalty, temperature, top k, top p. Same model, prompt and seed: same tokens.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "at least 1")
        _check("temperature", self.temperature, self.temperature >= 0, "0 or more")
        _check("top_k", self.top_k, self.top_k >= 0, "0 or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, at most 1")
        penalty = self.repetition_penalty
        _check("repetition_penalty", penalty, penalty > 0, "above 0")


def generate(
    model: Decoder,
    prompt: Sequence[int],
    generation: Generation,
    stop_ids: frozenset[int] = frozenset(),
) -> Iterator[int]:
    """Yield new token ids one by one; a stop id ends generation and is not yielded.

    Raises `ModelError` for an empty prompt.
    """
    if not prompt:
        raise ModelError("the prompt has no tokens", fix="give at least one token to start from")
    random = np.random.default_rng(generation.seed)
    seen = first_seen(model, prompt)
    logits, past = model.begin((), [prompt], generation.max_new_tokens)
    for left in reversed(range(generation.max_new_tokens)):
        token = choose_token(logits[0], seen, generation, random)
        if token in stop_ids:
            return
        yield token
        seen.append(token)
        if left:
            logits, past = model.step(np.array([token], np.int64), past)


def first_seen(model: object, prompt: Sequence[int]) -> list[int]:
    """Return what counts as seen before the first new token: the prompt.

    An encoder-decoder has an attribute of this name instead: its source is read, not written, and
    transformers' repetition penalty is about what the decoder has written.
    """
    return list(getattr(model, "first_seen", prompt))


def choose_token(
    logits: NDArray[np.float32],
    seen: Sequence[int],
    generation: Generation,
    random: np.random.Generator,
) -> int:
    """Pick the next token id from `logits` [vocabulary] after the tokens `seen`."""
    if generation.temperature == 0 and generation.repetition_penalty == 1.0:
        return int(logits.argmax())
    scores = penalise(logits.astype(np.float64), seen, generation.repetition_penalty)
    if generation.temperature == 0:
        return int(scores.argmax())
    scores = keep_top_k(scores / generation.temperature, generation.top_k)
    probabilities = _softmax(keep_top_p(scores, generation.top_p))
    return int(random.choice(len(probabilities), p=probabilities))


def penalise(
    scores: NDArray[np.float64], seen: Sequence[int], penalty: float
) -> NDArray[np.float64]:
    """Make seen tokens less likely: divide positive scores, multiply others (CTRL, Keskar 2019)."""
    if penalty == 1.0:
        return scores
    ids = np.unique(np.asarray(seen, np.int64))
    changed = scores.copy()
    changed[ids] = np.where(scores[ids] > 0, scores[ids] / penalty, scores[ids] * penalty)
    return changed


def keep_top_k(scores: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Set all but the `k` highest scores (and ties with the last of them) to minus infinity."""
    if k == 0 or k >= len(scores):
        return scores
    return np.where(scores < np.partition(scores, -k)[-k], -np.inf, scores)


def keep_top_p(scores: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    """Keep the smallest set of tokens whose probability reaches `p` (Holtzman et al. 2019)."""
    if p == 1.0:
        return scores
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(_softmax(scores)[order])
    dropped = order[mass <= 1 - p]
    kept = scores.copy()
    kept[dropped[dropped != order[-1]]] = -np.inf
    return kept


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum(), np.float64)


def _check(name: str, found: float, right: bool, allowed: str) -> None:
    if not right:
        raise ModelError(f"{name} is {found}", fix=f"use {allowed}")
