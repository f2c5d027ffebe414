"""Which tokens of a text are hidden, and by what: the same for the same seed, epoch and row.

Devlin et al. 2019 (arXiv:1810.04805); the names are those of transformers' data collator.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts.tables import IGNORED

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Masking:
    """Of `mlm_probability` of the tokens, `mask_replace_prob` become the mask token and
    `random_replace_prob` a random one; the others stay, and are asked for all the same.

    `vocabulary` is how many tokens there are to draw from; `special` are never hidden.
    """

    mask_token: int
    vocabulary: int
    special: Collection[int]
    mlm_probability: float = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1

    def hide(self, ids: Ids, *key: int) -> tuple[Ids, Ids]:
        """Return what the model reads of `ids` [n], and labels [n]: `IGNORED` where not asked.

        One token at least is asked for, if there is one that may be. `key` are integers that tell
        this reading of this row from all others (seed, epoch, row).
        """
        draws = np.random.default_rng(key).random((3, len(ids)))
        may = ~np.isin(ids, list(self.special))
        asked = may & (draws[0] < self.mlm_probability)
        if may.any() and not asked.any():
            asked[np.where(may, draws[0], 2.0).argmin()] = True
        masked = asked & (draws[1] < self.mask_replace_prob)
        other = asked & ~masked & (draws[1] < self.mask_replace_prob + self.random_replace_prob)
        read = np.where(masked, self.mask_token, ids)
        read = np.where(other, (draws[2] * self.vocabulary).astype(np.int64), read)
        return read, np.where(asked, ids, IGNORED)
