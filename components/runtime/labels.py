"""Which of a few label words a model would answer, and how sure it is."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.runtime.template import Message
from components.runtime.text import TextModel

Ids = tuple[int, ...]
ANCHOR = "\n"
SPACES = ("▁", "Ġ")
"""How vocabularies write a space before a word."""


def label_ids(
    model: TextModel, conversation: str | Sequence[Message], labels: Sequence[str]
) -> list[Ids]:
    """Return the token ids of each label where the template writes it, behind the conversation.

    The end-of-sequence token is left out, as in training's choices. Raises `ModelError` where the
    template writes the conversation differently once the answer is there, or there are no turns.
    """
    if model.source_apart:
        return [tuple(model.encode(label, add_special_tokens=False)) for label in labels]
    if isinstance(conversation, str):
        raise ModelError("a model of plain text has no labels", fix="use --no-labels")
    prompt = model.render(conversation)
    found = []
    for label in labels:
        answered = [*conversation, {"role": "assistant", "content": label}]
        whole = model.render(answered, add_generation_prompt=False)
        rest = whole[len(prompt) :]
        if not whole.startswith(prompt) or label not in rest:
            raise ModelError(
                f"the chat template does not write the label '{label}' behind its prompt",
                fix="ask for free text: --no-labels",
            )
        found.append(encode_behind(model, rest[: rest.index(label) + len(label)]))
    return found


def encode_behind(model: TextModel, text: str) -> Ids:
    """Encode a text that stands behind others.

    Some tokenizers put a space before every text; behind another text none belongs there.
    """
    first = model.encode("a", add_special_tokens=False)[:1]
    if not first or str(model.tokenizer.id_to_token(first[0]))[:1] not in SPACES:
        return tuple(model.encode(text, add_special_tokens=False))
    anchor = model.encode(ANCHOR, add_special_tokens=False)
    return tuple(model.encode(ANCHOR + text, add_special_tokens=False)[len(anchor) :])


def label_logprobs(
    model: TextModel, prompts: Sequence[Sequence[int]], labels: Sequence[Ids]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (index of the prompt, log-likelihood of each label after it in nats), as they come.

    What all prompts begin with is read once, and so is a prompt for all labels of one token.
    Labels are scored by their summed log-likelihood, as in the gate.
    """
    shared = common_start(prompts)
    rows, keep, places = [], [], []
    known = sorted({label[:-1] for label in labels}, key=len, reverse=True)
    tails = [tail for at, tail in enumerate(known) if not _covered(tail, known[:at])]
    for index, prompt in enumerate(prompts):
        for tail in tails:
            rows.append([*prompt[shared:], *tail])
            keep.append(len(tail) + 1)
            places.append((index, tail))
    waiting = [len(tails)] * len(prompts)
    found = np.zeros((len(prompts), len(labels)))
    start = list(prompts[0][:shared]) if prompts else []
    for row, logits in model.model.read(start, rows, keep):
        index, tail = places[row]
        for at, label in enumerate(labels):
            if tail[: len(label) - 1] == label[:-1]:
                found[index, at] = _sum(logits[: len(label)], label)
        waiting[index] -= 1
        if not waiting[index]:
            yield index, found[index]


def probabilities(logprobs: NDArray[np.float64]) -> list[float]:
    """Return the share of each label: what the model gives it among the labels alone."""
    weights = np.exp(logprobs - logprobs.max())
    return [float(share) for share in weights / weights.sum()]


def common_start(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving one of each."""
    if not prompts:
        return 0
    low, high = min(prompts, key=list), max(prompts, key=list)
    limit = min(map(len, prompts)) - 1
    return next((at for at in range(limit) if low[at] != high[at]), limit)


def _covered(tail: Ids, longer: Sequence[Ids]) -> bool:
    return any(other[: len(tail)] == tail for other in longer)


def _sum(logits: NDArray[Any], ids: Ids) -> float:
    """Return the log-likelihood of `ids` under logits [n, vocabulary]."""
    scores = logits.astype(np.float64)
    top = scores.max(axis=-1, keepdims=True)
    floor = top[:, 0] + np.log(np.exp(scores - top).sum(axis=-1))
    return float((scores[np.arange(len(ids)), np.array(ids)] - floor).sum())
