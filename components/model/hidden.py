"""What is hidden of held-out texts: the same for every model that is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.contracts.tables import IGNORED
from components.model.masking import Masking
from components.scoring.items import Item
from components.scoring.masked import Hidden

EVALUATED = {
    "seed": 0,
    "mlm_probability": 0.15,
    "mask_replace_prob": 0.8,
    "random_replace_prob": 0.1,
}
"""How held-out texts are asked about, whatever the recipe trained with: figures are comparable."""


def hidden_in(items: Sequence[Item], facts: Mapping[str, Any]) -> list[Hidden | None]:
    """Return what is hidden of each item's text, by its place among the items; None if it has none.

    `facts` are those of the tokens artefact.
    """
    shares = {name: value for name, value in EVALUATED.items() if name != "seed"}
    masking = Masking(
        mask_token=int(facts["mask_token"]),
        vocabulary=int(facts["vocabulary_size"]),
        special=frozenset(facts["special_tokens"]),
        **shares,
    )
    return [
        _hidden(masking, item.text, int(EVALUATED["seed"]), row) for row, item in enumerate(items)
    ]


def _hidden(masking: Masking, text: Sequence[int], *key: int) -> Hidden | None:
    ids, labels = masking.hide(np.array(text, np.int64), *key)
    places = np.flatnonzero(labels != IGNORED)
    if not len(places):
        return None
    return Hidden(*(tuple(map(int, one)) for one in (ids, places, labels[places])))
