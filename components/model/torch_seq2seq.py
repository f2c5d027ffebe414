"""An encoder-decoder in torch behind the interface that scoring asks for.

Where a decoder is asked to go on with a row, an encoder-decoder reads the row as its source: what
`read` keeps the logits of is the target, and everything before it the source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.model.seq2seq import padding_id, start_token
from components.runtime.padding import padded
from components.runtime.seq2seq_rows import chunks, parted
from components.scoring.lm import Ids, Logits

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Written:
    """What has been read and written so far: the sources' mask, their states, and the cache."""

    mask: "torch.Tensor"
    states: "torch.Tensor"
    cache: Any


class TorchSeq2Seq:
    """See `components.scoring.lm.CausalLM`; prompts are sources."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self.model = model.eval()
        self.start, self.pad = start_token(model), padding_id(model)

    @property
    def first_seen(self) -> list[int]:
        """See `components.runtime.generate.first_seen`."""
        return [self.start]

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """Read sources `ids` [batch, n] and begin, or with `past` go on with `ids` written.

        Logits are [batch, 1, vocabulary] after a source, else of every token or of the last.
        """
        if past is None:
            return self._begun([list(map(int, row)) for row in ids])
        logits, cache = self._decode(past, self._tensor(ids))
        return logits[:, -1:] if last_only else logits, cache

    def begin(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], room: int
    ) -> tuple[NDArray[np.float32], Any]:
        """See `components.runtime.batch.BatchDecoder.begin`."""
        del room
        logits, cache = self._begun([[*prefix, *row] for row in rows])
        return logits[:, 0], cache

    def step(self, tokens: Ids, past: Any) -> tuple[NDArray[np.float32], Any]:
        """See `components.runtime.batch.BatchDecoder.step`."""
        logits, cache = self._decode(past, self._tensor(tokens[:, None]))
        return logits[:, 0], cache

    def select(self, past: Any, rows: Sequence[int]) -> Any:
        """See `components.runtime.batch.BatchDecoder.select`."""
        places = self._tensor(np.asarray(rows, np.int64))
        cache = copied(past.cache)
        cache.batch_select_indices(places)
        return Written(past.mask[places], past.states[places], cache)

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.lm.CausalLM.read`: a row's last `keep - 1` tokens are target."""
        pairs = [
            parted([*prefix, *row], kept, self.start) for row, kept in zip(rows, keep, strict=True)
        ]
        for chunk in chunks(pairs):
            logits = self._read([pairs[index] for index in chunk])
            for index, row in zip(chunk, logits, strict=True):
                yield index, row[: keep[index]]

    def _read(self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Logits:
        """Return the logits [pairs, longest target, vocabulary]; each source is encoded once."""
        sources = list(dict.fromkeys(source for source, _ in pairs))
        mask, states = self._encode(sources)
        place = {source: index for index, source in enumerate(sources)}
        of = self._tensor(np.array([place[source] for source, _ in pairs], np.int64))
        targets, _ = padded([target for _, target in pairs], self.pad)
        written = Written(mask[of], states[of], None)
        return self._decode(written, self._tensor(targets))[0]

    def _begun(self, sources: Sequence[Sequence[int]]) -> tuple[Logits, Written]:
        from transformers import DynamicCache, EncoderDecoderCache

        mask, states = self._encode(sources)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        starts = np.full((len(sources), 1), self.start, np.int64)
        return self._decode(Written(mask, states, cache), self._tensor(starts))

    def _encode(self, sources: Sequence[Sequence[int]]) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        ids, mask = map(self._tensor, padded(sources, self.pad))
        with torch.inference_mode():
            read = self.model.get_encoder()(input_ids=ids, attention_mask=mask)
        return mask, read.last_hidden_state

    def _decode(self, past: Written, ids: "torch.Tensor") -> tuple[Logits, Written]:
        import torch

        cache = None if past.cache is None else copied(past.cache)
        with torch.inference_mode():
            output = self.model(
                encoder_outputs=(past.states,),
                attention_mask=past.mask,
                decoder_input_ids=ids,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        return output.logits.float().cpu().numpy(), Written(past.mask, past.states, cache)

    def _tensor(self, array: Any) -> "torch.Tensor":
        import torch

        return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(self.model.device)


def copied(cache: Any) -> Any:
    """Return a cache that can go on without changing this one; no key or value is copied."""
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.cache_utils import DynamicLayer

    parts = []
    for part in (cache.self_attention_cache, cache.cross_attention_cache):
        mine = DynamicCache()
        for layer in part.layers:
            own = DynamicLayer()
            own.lazy_initialization(layer.keys, layer.values)
            own.keys, own.values = layer.keys, layer.values
            mine.layers.append(own)
        parts.append(mine)
    return EncoderDecoderCache(*parts)
