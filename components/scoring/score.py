"""Scoring items with any `CausalLM`: what is asked of a model, and what its logits say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.events import Events, Silent
from components.scoring.items import Item, Score
from components.scoring.lm import CausalLM, Logits

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """One row to read: an item's prompt and a continuation of it, but for its last token.

    `wanted` are the continuations that this row's logits give: itself and all that part from it
    at their last token at the earliest.
    """

    item: int
    continuation: Tokens
    wanted: tuple[Tokens, ...]

    def row(self, prompt: Tokens) -> Tokens:
        """Return the tokens to read after `prompt` begins."""
        return prompt + self.continuation[:-1]


@dataclass(frozen=True)
class Said:
    """What a model gives a continuation: its log-probability, and whether it is the greedy one."""

    logprob: float
    greedy: bool


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
    with is read once, and so is a prompt with all its one-token continuations, which changes
    nothing in the numbers.
    """
    events = events or Silent()
    texts = score_texts(lm, items, prefix_token)
    scores = [without_answer(item, texts.get(place, 0.0)) for place, item in enumerate(items)]
    said = score_continuations(lm, items, events, label)
    for place, item in enumerate(items):
        if item.prompt:
            scores[place] = with_answer(scores[place], item, said[place])
    return scores


def score_continuations(
    lm: CausalLM, items: Sequence[Item], events: Events, label: str
) -> list[dict[Tokens, Said]]:
    """Return for every item what the model gives its answer and its choices."""
    shared = common_prefix([item.prompt for item in items if item.prompt])
    readings = [one for place, item in enumerate(items) for one in readings_of(place, item)]
    rows = [one.row(items[one.item].prompt[len(shared) :]) for one in readings]
    keep = [len(one.continuation) for one in readings]
    said: list[dict[Tokens, Said]] = [{} for _ in items]
    for done, (index, logits) in enumerate(lm.read(shared, rows, keep), start=1):
        reading = readings[index]
        said[reading.item] |= say(logits, reading.wanted)
        events.progress(label, done, len(readings))
    return said


def readings_of(place: int, item: Item) -> list[Reading]:
    """Return the rows that must be read for the answer and the choices of an item.

    The longest continuations come first, so that a shorter one finds the row that covers it.
    """
    if not item.prompt:
        return []
    readings: list[Reading] = []
    for tokens in sorted({item.answer, *item.choices}, key=lambda ids: (-len(ids), ids)):
        known = tokens[:-1]
        for at, reading in enumerate(readings):
            if reading.continuation[: len(known)] == known:
                readings[at] = replace(reading, wanted=(*reading.wanted, tokens))
                break
        else:
            readings.append(Reading(place, tokens, (tokens,)))
    return readings


def say(logits: Logits, wanted: Sequence[Tokens]) -> dict[Tokens, Said]:
    """Return what `logits` [n, vocabulary], from a prompt's last token on, give continuations."""
    floor, best = normalizers(logits)
    found = {}
    for tokens in wanted:
        ids = np.array(tokens)
        picked = logits[np.arange(len(ids)), ids].astype(np.float64) - floor[: len(ids)]
        found[tokens] = Said(float(picked.sum()), bool((best[: len(ids)] == ids).all()))
    return found


def with_answer(score: Score, item: Item, said: dict[Tokens, Said]) -> Score:
    """Return `score` with what was said of the answer and the choices."""
    answer = said[item.answer]
    logprobs = tuple(said[choice].logprob for choice in item.choices)
    choice = int(np.argmax(logprobs)) if logprobs else -1
    return replace(
        score,
        choice_logprobs=logprobs,
        choice=choice,
        right=choice == item.target if item.choices else answer.greedy,
        greedy=answer.greedy,
        answer_nll=-answer.logprob,
        answer_tokens=len(item.answer),
    )


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


def score_texts(lm: CausalLM, items: Sequence[Item], prefix_token: int) -> dict[int, float]:
    """Return the negative log-likelihood in nats of each item's text, by index."""
    places = [place for place, item in enumerate(items) if item.text]
    rows = [(prefix_token, *items[place].text[:-1]) for place in places]
    nll: dict[int, float] = {}
    for index, logits in lm.read((), rows, [len(row) for row in rows]):
        text = items[places[index]].text
        nll[places[index]] = -say(logits, [text])[text].logprob
    return nll


def common_prefix(prompts: Sequence[Tokens]) -> Tokens:
    """Return the tokens that all prompts begin with, always leaving one token of each."""
    if not prompts:
        return ()
    low, high = min(prompts), max(prompts)
    limit = min(len(prompt) for prompt in prompts) - 1
    same = 0
    while same < limit and low[same] == high[same]:
        same += 1
    return tuple(low[:same])


def normalizers(logits: Logits) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return log Σ exp [n] and the likeliest token [n] of logits [n, vocabulary].

    NumPy's one thread is enough, and does not fight with the threads that run the model.
    """
    best = logits.argmax(axis=-1)
    top = np.take_along_axis(logits, best[:, None], axis=-1)
    sums = np.exp(logits - top).sum(axis=-1, dtype=np.float64)
    return top[:, 0] + np.log(sums), best
