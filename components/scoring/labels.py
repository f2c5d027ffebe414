"""Scoring texts with a classifier: the logits of its labels as the score of an item."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.contracts.events import Events, Silent
from components.scoring.items import Item, Score

Logits = NDArray[np.float32]


class Classifier(Protocol):
    """A model that gives a text one of several labels."""

    def label_logits(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[int, Logits]]:
        """Yield (index of the row, logits [labels]) in the order that is cheapest.

        Rows are token ids with the special tokens that the model wants around a text.
        """


def score_labels(
    model: Classifier,
    items: Sequence[Item],
    *,
    events: Events | None = None,
    label: str = "scoring",
) -> list[Score]:
    """Return the score of every item, in order.

    `choice_logprobs` are the log-probabilities of the labels. The answer is the right label, one
    token long: `answer_nll` is the cross-entropy, and `greedy` says the same as `right`.
    """
    events = events or Silent()
    found: dict[int, Score] = {}
    for index, logits in model.label_logits([item.prompt for item in items]):
        found[index] = score_of(items[index], logits)
        events.progress(label, len(found), len(items))
    return [found[index] for index in range(len(items))]


def score_of(item: Item, logits: Logits) -> Score:
    """Return the score of one item from the logits [labels]."""
    logprobs = log_softmax(logits)
    choice = int(logits.argmax())
    right = choice == item.target
    return Score(
        id=item.id,
        choice_logprobs=tuple(float(value) for value in logprobs),
        choice=choice,
        target=item.target,
        right=right,
        greedy=right,
        answer_nll=-float(logprobs[item.target]),
        answer_tokens=1,
        text_nll=0.0,
        text_tokens=0,
        text_bytes=0,
    )


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the log-probabilities of logits [labels] in nats."""
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
