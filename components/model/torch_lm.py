"""A transformers model behind the interface that scoring asks for."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from components.model import branches as trees
from components.model.shared_prefix import attends_plainly, lay_out, shared_prefix
from components.scoring.lm import Forked, Ids, Logits, fork_plainly

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CHUNK = 1024
"""New tokens of one forward when rows are read: enough to keep the matrix products busy."""

KEPT = 512
"""Positions of one forward whose logits are kept: 512 × vocabulary × 4 bytes (100 MB at 49k)."""


class TorchLM:
    """A causal model in torch. Its cache is a tuple of (key, value) tensors, one pair a layer."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self.model = model.eval()
        self._kept: tuple[tuple[int, ...], Any] | None = None
        # A slice of the hidden states is not contiguous, and torch then multiplies it row by row
        # with a copy of the head's weights each, unless those require a gradient.
        model.get_output_embeddings().register_forward_pre_hook(contiguous)

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """See `components.scoring.lm.CausalLM.forward`."""
        if past is not None and len(past[0][0]) < len(ids):
            past = expand(past, len(ids))
        output = self.call(ids, past, logits_to_keep=1 if last_only else 0)
        cache = tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)
        return output.logits.float().cpu().numpy(), cache

    def begin(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], room: int
    ) -> tuple[Logits, Any]:
        """See `components.runtime.generate.Decoder.begin`."""
        from components.model.ragged_reading import begin

        return begin(self, prefix, rows, room)

    def step(self, tokens: Ids, past: Any) -> tuple[Logits, Any]:
        """See `components.runtime.generate.Decoder.step`."""
        from components.model.ragged_reading import step

        return step(self, tokens, past), past

    def select(self, past: Any, rows: Sequence[int]) -> Any:
        """See `components.runtime.batch.BatchDecoder.select`."""
        import torch

        with torch.inference_mode():
            return past.of(self.tensor(rows))

    def read_prefix(self, prefix: tuple[int, ...]) -> Any:
        """Return the cache of a prefix; the last one is kept, as a task's batches share theirs."""
        if not prefix:
            return None
        if self._kept is None or self._kept[0] != prefix:
            self._kept = (prefix, self.forward(as_ids([prefix]), last_only=True)[1])
        return self._kept[1]

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.lm.CausalLM.read`."""
        longest = len(prefix) + max(map(len, rows), default=0)
        past = self.forward(as_ids([prefix]), last_only=True)[1] if len(prefix) else None
        read = self._flat if attends_plainly(self.model, longest) else self._stacked
        for chunk in chunks(list(map(len, rows)), keep):
            logits = read(len(prefix), past, [rows[i] for i in chunk], [keep[i] for i in chunk])
            yield from zip(chunk, logits, strict=True)

    def read_branches(
        self,
        prefix: Sequence[int],
        trunks: Sequence[Sequence[int]],
        branches: Sequence[Sequence[Sequence[int]]],
    ) -> Iterator[tuple[int, Forked]]:
        """See `components.scoring.lm.read_branches`."""
        forks = [
            (trunk, [one[:-1] for one in several])
            for trunk, several in zip(trunks, branches, strict=True)
        ]
        longest = len(prefix) + max(map(trees.size, forks), default=0)
        if not attends_plainly(self.model, longest):
            yield from fork_plainly(self, prefix, trunks, branches)
            return
        past = self.forward(as_ids([prefix]), last_only=True)[1] if len(prefix) else None
        sizes, kept = [trees.size(fork) for fork in forks], [trees.kept(fork) for fork in forks]
        for chunk in chunks(sizes, kept):
            logits = self._forest(len(prefix), past, [forks[index] for index in chunk])
            yield from zip(chunk, logits, strict=True)

    def _forest(self, p: int, past: Any, forks: list[trees.Tree]) -> list[Forked]:
        """Read trunks with their branches in one forward, behind the cached prefix."""
        forest = trees.lay_out_trees(p, forks, self.model.device, self.model.dtype)
        with shared_prefix(self.model):
            output = self.call(
                forest.ids[None],
                past,
                position_ids=self.tensor(forest.places[None]),
                layout=forest.layout,
                logits_to_keep=self.tensor(forest.wanted),
            )
        counts = [count for _, several in forks for count in (1, *map(len, several))]
        parts = iter(output.logits[0].float().cpu().split(counts))
        return [(next(parts).numpy()[0], [next(parts).numpy() for _ in b]) for _, b in forks]

    def _flat(
        self, p: int, past: Any, rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> list[Logits]:
        """Read rows end to end in one forward, each behind the cached prefix of `p` tokens."""
        logits, _ = self.read_flat(p, past, rows, keep)
        return np.split(logits, np.cumsum(keep)[:-1])

    def read_flat(
        self, p: int, past: Any, rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> tuple[Logits, Any]:
        """Return the logits [sum of keep, vocabulary] of the rows' last tokens, and the cache."""
        tails = [len(row) for row in rows]
        ends = np.cumsum(tails)
        wanted = [np.arange(end - kept, end) for end, kept in zip(ends, keep, strict=True)]
        places = np.concatenate([np.arange(p, p + tail) for tail in tails])
        with shared_prefix(self.model):
            output = self.call(
                np.concatenate(rows)[None],
                past,
                position_ids=self.tensor(places[None]),
                layout=lay_out(p, tails, self.model.device, self.model.dtype),
                logits_to_keep=self.tensor(np.concatenate(wanted)),
            )
        return output.logits[0].float().cpu().numpy(), output.past_key_values

    def _stacked(
        self, p: int, past: Any, rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> list[Logits]:
        """Read rows of equal length together: for models whose attention is not the plain one."""
        found: list[Logits] = []
        for _, group in groupby(zip(rows, keep, strict=True), key=lambda pair: len(pair[0])):
            pairs = list(group)
            start = expand(past, len(pairs)) if past is not None else None
            most = max(kept for _, kept in pairs)
            logits = self.call(as_ids([row for row, _ in pairs]), start, logits_to_keep=most)
            array = logits.logits.float().cpu().numpy()
            found += [one[most - kept :] for one, (_, kept) in zip(array, pairs, strict=True)]
        return found

    def call(self, ids: Ids, past: Any, **options: Any) -> Any:
        """Return the model's output for `ids` [rows, n] behind `past`: a cache, or its tensors."""
        import torch
        from transformers import Cache, DynamicCache

        with torch.inference_mode():
            return self.model(
                input_ids=self.tensor(ids),
                # A new cache object each time: appending to it leaves the tensors of `past` alone.
                past_key_values=past if isinstance(past, Cache) else DynamicCache(past or None),
                use_cache=True,
                **options,
            )

    def tensor(self, array: Any) -> "torch.Tensor":
        """Return integers as an int64 tensor on the model's device."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(self.model.device)


def chunks(lengths: Sequence[int], keep: Sequence[int]) -> Iterator[list[int]]:
    """Yield the rows' indices by length, as many at a time as `CHUNK` and `KEPT` allow."""
    chunk: list[int] = []
    tokens = kept = 0
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], keep[i])):
        tokens, kept = tokens + lengths[index], kept + keep[index]
        if chunk and (tokens > CHUNK or kept > KEPT):
            yield chunk
            chunk, tokens, kept = [], lengths[index], keep[index]
        chunk.append(index)
    if chunk:
        yield chunk


def expand(past: Any, batch: int) -> Any:
    """Repeat a cache of batch 1 for `batch` rows."""
    return tuple((k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in past)


def as_ids(rows: Sequence[Sequence[int]]) -> Ids:
    """Return rows of equal length as int64 [batch, n]."""
    return np.asarray(rows, dtype=np.int64)


def contiguous(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a module with the first one contiguous."""
    return (arguments[0].contiguous(), *arguments[1:])
