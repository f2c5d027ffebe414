"""Scoring items with any `CausalLM`: batches of rows of equal length, so nothing is ever padded."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.events import Events, Silent
from components.scoring.items import Item, Score
from components.scoring.lm import CausalLM, Ids, Logits

MAX_BATCH_TOKENS = 512
"""Tokens in one forward: bounds the logits at 512 × vocabulary × 4 bytes (100 MB at 49k)."""


def score_items(
    lm: CausalLM,
    items: Sequence[Item],
    *,
    prefix_token: int,
    events: Events | None = None,
    label: str = "scoring",
) -> list[Score]:
    """Return the score of every item, in order.

    Choices are scored by their summed log-likelihood after the prompt, the answer with its EOS,
    and the text from `prefix_token` on (so its first token counts too). What all prompts begin
    with is read once and its cache shared, which changes nothing in the numbers.
    """
    events = events or Silent()
    shared = common_prefix([item.prompt for item in items if item.prompt])
    past = lm.forward(as_ids([shared]))[1] if shared else None
    texts = score_texts(lm, items, prefix_token)
    scores = [without_answer(item, texts.get(row, 0.0)) for row, item in enumerate(items)]
    done = 0
    for rows in batches(items, shape, lambda item: len(item.prompt)):
        if items[rows[0]].prompt:
            for row, score in _score_batch(lm, items, rows, len(shared), past):
                scores[row] = replace(score, text_nll=scores[row].text_nll)
        done += len(rows)
        events.progress(label, done, len(items))
    return scores


def without_answer(item: Item, text_nll: float) -> Score:
    """Return the score of an item of which only the text has been read."""
    return Score(
        id=item.id,
        choice_logprobs=(),
        choice=-1,
        target=item.target,
        right=False,
        greedy=False,
        answer_nll=0.0,
        answer_tokens=0,
        text_nll=text_nll,
        text_tokens=len(item.text),
        text_bytes=item.text_bytes,
    )


def _score_batch(
    lm: CausalLM,
    items: Sequence[Item],
    rows: list[int],
    skip: int,
    past: Any,
) -> Iterator[tuple[int, Score]]:
    group = [items[row] for row in rows]
    start = lm.expand(past, len(rows)) if past is not None else None
    logits, cache = lm.forward(
        as_ids([item.prompt[skip:] for item in group]), start, last_only=True
    )
    answers, greedy = continuation(lm, logits, cache, [item.answer for item in group])
    options = [
        continuation(lm, logits, cache, [item.choices[k] for item in group])[0]
        for k in range(len(group[0].choices))
    ]
    for place, (row, item) in enumerate(zip(rows, group, strict=True)):
        logprobs = tuple(float(option[place]) for option in options)
        choice = int(np.argmax(logprobs)) if logprobs else -1
        right = choice == item.target if item.choices else bool(greedy[place])
        yield (
            row,
            replace(
                without_answer(item, 0.0),
                choice_logprobs=logprobs,
                choice=choice,
                right=right,
                greedy=bool(greedy[place]),
                answer_nll=-float(answers[place]),
                answer_tokens=len(item.answer),
            ),
        )


def continuation(
    lm: CausalLM, first: Logits, cache: Any, tokens: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the summed log-probability [batch] of `tokens` [batch, n] after a cached prompt.

    `first` [batch, 1, vocabulary] are the logits after the prompt. The second result says per row
    whether every token was the most likely one.
    """
    ids = as_ids(tokens)
    picked, greedy = token_logprobs(first, ids[:, :1])
    if ids.shape[1] > 1:
        later, _ = lm.forward(ids[:, :-1], cache)
        more, also = token_logprobs(later, ids[:, 1:])
        picked, greedy = np.hstack([picked, more]), np.hstack([greedy, also])
    return picked.sum(axis=1), np.asarray(greedy.all(axis=1))


def score_texts(lm: CausalLM, items: Sequence[Item], prefix_token: int) -> dict[int, float]:
    """Return the negative log-likelihood in nats of each item's text, by index."""
    nll: dict[int, float] = {}
    for rows in batches(items, lambda item: (len(item.text),), lambda item: len(item.text)):
        if not items[rows[0]].text:
            continue
        ids = as_ids([(prefix_token, *items[row].text) for row in rows])
        picked, _ = token_logprobs(lm.forward(ids[:, :-1])[0], ids[:, 1:])
        for row, value in zip(rows, picked.sum(axis=1), strict=True):
            nll[row] = -float(value)
    return nll


def shape(item: Item) -> tuple[int, ...]:
    """What must be equal for items to share a batch."""
    return (len(item.prompt), len(item.answer), *(len(choice) for choice in item.choices))


def batches(items: Sequence[Item], key: Any, tokens: Any) -> Iterator[list[int]]:
    """Yield lists of indices of items with one `key`, each of at most `MAX_BATCH_TOKENS`."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[key(item)].append(index)
    for name in sorted(groups):
        rows = groups[name]
        size = max(1, MAX_BATCH_TOKENS // max(1, tokens(items[rows[0]])))
        edges = [*range(0, len(rows), size), len(rows)]
        yield from (rows[a:b] for a, b in pairwise(edges))


def common_prefix(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the tokens that all prompts begin with, always leaving one token of each."""
    if not prompts:
        return ()
    low, high = min(prompts), max(prompts)
    limit = min(len(prompt) for prompt in prompts) - 1
    same = 0
    while same < limit and low[same] == high[same]:
        same += 1
    return tuple(low[:same])


def token_logprobs(logits: Logits, ids: Ids) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log-probability [batch, n] of each token, and whether it was the most likely.

    In fp32 and safe from overflow; torch, because NumPy has one thread for the exponentials.
    """
    import torch

    rows = torch.from_numpy(logits)
    tokens = torch.from_numpy(ids)
    picked = rows.gather(-1, tokens[..., None])[..., 0] - rows.logsumexp(-1)
    return picked.double().numpy(), (rows.argmax(-1) == tokens).numpy()


def as_ids(rows: Sequence[Sequence[int]]) -> Ids:
    """Return rows of equal length as int64 [batch, n]."""
    return np.asarray(rows, dtype=np.int64)
