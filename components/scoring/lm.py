"""What scoring needs of a language model, whichever runtime it lives in."""

from collections.abc import Iterator, Sequence
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

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """Read every row behind the same `prefix`, in the order that is cheapest for this model.

        Yields (index of the row, logits [keep, vocabulary] of its last `keep` tokens). Rows may
        have any lengths from 1 on; a row sees the prefix and itself only.
        """
