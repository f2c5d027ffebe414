"""What scoring needs of a language model, whichever runtime it lives in."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.runtime.batch import BatchDecoder

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]

Forked = tuple[NDArray[np.float32], list[Logits]]
"""Logits [vocabulary] behind a trunk, and for each branch those of its tokens but the last."""


class CausalLM(BatchDecoder, Protocol):
    """A causal decoder with a key-value cache, which can also answer many prompts together."""

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """Read `ids` [batch, n] after `past` and return logits and the new cache.

        Logits are [batch, n, vocabulary], or [batch, 1, vocabulary] with `last_only`. `past` is
        never changed, so one cache can be continued in several ways; where it has one row, every
        row of `ids` is read behind that.
        """

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """Read every row behind the same `prefix`, in the order that is cheapest for this model.

        Yields (index of the row, logits [keep, vocabulary] of its last `keep` tokens). Rows may
        have any lengths from 1 on; a row sees the prefix and itself only.
        """


def read_branches(
    lm: CausalLM,
    prefix: Sequence[int],
    trunks: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
) -> Iterator[tuple[int, Forked]]:
    """Read every trunk behind the same `prefix`, and behind it its branches, each by itself.

    Yields (index of the trunk, its logits). Trunks and branches have one token or more; the last
    token of a branch is not read. A model that can read a trunk once for all its branches has a
    method of this name; for others each long branch is a row with its own copy of the trunk.
    """
    own: Callable[..., Iterator[tuple[int, Forked]]] = getattr(
        lm, "read_branches", partial(fork_plainly, lm)
    )
    return own(prefix, trunks, branches)


def fork_plainly(
    lm: CausalLM,
    prefix: Sequence[int],
    trunks: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
) -> Iterator[tuple[int, Forked]]:
    """Do what `read_branches` does with `read` alone: a copy of the trunk for each long branch."""
    rows: list[Sequence[int]] = []
    keep: list[int] = []
    places: list[tuple[int, int]] = []
    for index, (trunk, several) in enumerate(zip(trunks, branches, strict=True)):
        long = [at for at, branch in enumerate(several) if len(branch) > 1]
        for at in long or [0]:
            rows.append([*trunk, *several[at][:-1]])
            keep.append(len(several[at]))
            places.append((index, at))
    missing = Counter(index for index, _ in places)
    found: list[dict[int, Logits]] = [{} for _ in trunks]
    for row, logits in lm.read(prefix, rows, keep):
        index, at = places[row]
        found[index][at] = logits
        if len(found[index]) == missing[index]:
            said, found[index] = found[index], {}
            first = next(iter(said.values()))
            yield (
                index,
                (first[0], [said.get(i, first[:1])[1:] for i in range(len(branches[index]))]),
            )
