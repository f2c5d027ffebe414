"""Scoring texts with a masked-language model: the loss of hidden tokens, the same for every model.

The masks are fixed by the place of a text among the items, so any two models are asked for the very
same tokens behind the very same others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.contracts.events import Events, Silent
from components.scoring.items import Item, Score
from components.scoring.score import normalizers, without_answer

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Hidden:
    """A text as it is read, where tokens are asked for, and which they are."""

    ids: tuple[int, ...]
    places: tuple[int, ...]
    targets: tuple[int, ...]


class MaskedLM(Protocol):
    """An encoder that says which token stands at a place."""

    def token_logits(
        self, rows: Sequence[Sequence[int]], places: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, Logits]]:
        """Yield (index of the row, logits [its places, vocabulary]), in the cheapest order."""


def score_hidden(
    model: MaskedLM,
    items: Sequence[Item],
    hidden: Sequence[Hidden | None],
    *,
    events: Events | None = None,
    label: str = "scoring",
) -> list[Score]:
    """Return the score of every item, in order: nothing is answered, a text is read.

    `text_nll` is the summed loss of the hidden tokens in nats, `text_tokens` their number, and
    `text_bytes` as many bytes as so many tokens of that text have on average.
    """
    events = events or Silent()
    scores = [without_answer(item, 0.0) for item in items]
    asked = [(at, one) for at, one in enumerate(hidden) if one is not None]
    rows, places = [one.ids for _, one in asked], [one.places for _, one in asked]
    for done, (index, logits) in enumerate(model.token_logits(rows, places), start=1):
        at, one = asked[index]
        scores[at] = score_of(items[at], one, logits)
        events.progress(label, done, len(asked))
    return scores


def score_of(item: Item, hidden: Hidden, logits: Logits) -> Score:
    """Return the score of one text from the logits [places, vocabulary] of its hidden tokens."""
    floor, _ = normalizers(logits)
    count = len(hidden.targets)
    picked: NDArray[Any] = logits[np.arange(count), np.array(hidden.targets)].astype(np.float64)
    size = max(1, round(item.text_bytes * count / len(item.text)))
    score = without_answer(item, float((floor - picked).sum()))
    return replace(score, text_tokens=count, text_bytes=size)
