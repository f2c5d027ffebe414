"""What scoring needs of a language model, whichever runtime it lives in."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]


class CausalLM(Protocol):
    """A causal decoder with a key-value cache. No padding: every row of a batch has one length."""

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """Read `ids` [batch, n] after `past` and return logits and the new cache.

        Logits are [batch, n, vocabulary], or [batch, 1, vocabulary] with `last_only`. `past` is
        never changed, so one cache can be continued in several ways.
        """

    def expand(self, past: Any, batch: int) -> Any:
        """Repeat a cache of batch 1 for `batch` rows."""
