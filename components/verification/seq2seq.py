"""Encoder-decoders held against torch: what both write to the same sources."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from components.contracts.kinds import Adapter, BaseModelFolder
from components.scoring.lm import CausalLM, Ids
from components.verification.parity import Parity, Run, check_finite, equal_lengths


@contextmanager
def merged_seq2seq(base: BaseModelFolder, adapter: Adapter) -> Iterator[CausalLM]:
    """Give the tuned model in torch, fp32 with full-precision products, and free it afterwards."""
    import torch

    from components.model.device import keep_few_kernels, pick_device
    from components.model.opened import open_tuned

    keep_few_kernels()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield open_tuned(base, adapter, pick_device())
    finally:
        torch.set_float32_matmul_precision(before)


def check_targets(
    lm: CausalLM, torch_lm: CausalLM, prompts: Sequence[Sequence[int]], new_tokens: int
) -> Parity:
    """Write greedily with `lm` through its cache; compare with one torch forward a batch."""
    parity = Parity()
    for rows in equal_lengths(prompts):
        run = write_greedy(lm, rows, new_tokens)
        keep = [new_tokens] * len(rows)
        found = dict(torch_lm.read((), run.ids[:, :-1].tolist(), keep))
        expected = np.stack([found[row] for row in range(len(rows))])
        parity.add(run, expected, new_tokens)
    return parity


def write_greedy(lm: CausalLM, sources: Ids, new_tokens: int) -> Run:
    """Write `new_tokens` to `sources` [batch, n], whatever they are: no token ends it.

    The logits [batch, new, vocabulary] are those of the new tokens alone.
    """
    logits, past = lm.forward(sources)
    ids, found = sources, [check_finite(logits)]
    for _ in range(new_tokens - 1):
        chosen = found[-1].argmax(axis=-1).astype(np.int64)
        ids = np.concatenate([ids, chosen], axis=1)
        logits, past = lm.forward(chosen, past)
        found.append(check_finite(logits))
    last = found[-1].argmax(axis=-1).astype(np.int64)
    return Run(np.concatenate([ids, last], axis=1), np.concatenate(found, axis=1))
