"""Attention for rows packed end to end: a row sees itself, and no mask of tokens by tokens is made.

transformers tells packed rows apart by their positions and then builds a block mask of n × n, which
keeps SDPA from FlashAttention's kernel and makes the host wait for the device. Here the places
where rows begin are known from the start, and the variable-length kernel takes them as they are
(Dao 2023, arXiv:2307.08691; torch's `varlen_attn`). Where that kernel cannot run (CPU, fp32), SDPA
takes row after row: for tests and for GPUs without it, not for speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "tuneline_packed"

WIDEST = 256
"""The widest head that FlashAttention takes."""


@dataclass(frozen=True)
class Packed:
    """Rows end to end: `lengths` of each on the host, `starts` [rows + 1] int32 on the device."""

    lengths: tuple[int, ...]
    starts: "torch.Tensor"

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths)


def lay_end_to_end(lengths: Sequence[int]) -> Packed:
    """Return where rows of `lengths` tokens lie when they are packed; `starts` is on the CPU."""
    import torch

    starts = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    starts[1:] = torch.tensor(lengths).cumsum(0)
    return Packed(tuple(lengths), starts)


def packed_attention(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    packed: Packed,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple["torch.Tensor", None]:
    """Return (output [1, tokens, heads, width], None) for query [1, heads, tokens, width].

    Keys and values [1, heads, tokens, width] may have fewer heads (grouped queries).
    """
    scale = module.head_dim**-0.5 if scaling is None else scaling
    seen = sliding_window or packed.longest
    if has_kernel(query):
        return by_kernel(query, key, value, packed, scale, seen)[None], None
    return row_by_row(query, key, value, packed, scale, seen), None


def has_kernel(query: "torch.Tensor") -> bool:
    """Say whether the variable-length kernel takes tensors like `query`."""
    import torch

    width = query.shape[-1]
    half = query.dtype in (torch.bfloat16, torch.float16)
    if not (query.is_cuda and half and width <= WIDEST and width % 8 == 0):
        return False
    return torch.cuda.get_device_capability(query.device) >= (8, 0)


def by_kernel(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    packed: Packed,
    scale: float,
    seen: int,
) -> "torch.Tensor":
    """Return the output [tokens, heads, width] of torch's variable-length FlashAttention.

    A token sees itself and the `seen` - 1 before it.
    """
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    call: Any = varlen_attn  # with an option that is not used here it returns two tensors
    result: torch.Tensor = call(
        q,
        k,
        v,
        packed.starts,
        packed.starts,
        packed.longest,
        packed.longest,
        scale=scale,
        window_size=(-1 if seen >= packed.longest else seen - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return result


def row_by_row(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    packed: Packed,
    scale: float,
    seen: int,
) -> "torch.Tensor":
    """Return the output [1, tokens, heads, width] of SDPA, one row after the other."""
    import torch

    rows = []
    for parts in zip(*(x.split(packed.lengths, dim=2) for x in (query, key, value)), strict=True):
        q, k, v = parts
        length = q.shape[2]
        allowed = None
        if seen < length:
            allowed = torch.ones(length, length, dtype=torch.bool, device=q.device)
            allowed = allowed.tril().triu(1 - seen)
        row = torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=allowed,
            is_causal=allowed is None,
            scale=scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        rows.append(row)
    return torch.cat(rows, dim=2).transpose(1, 2)


def use_packed_attention(model: Any) -> None:
    """Make `model` attend by the `packed` that is passed to its forward."""
    from transformers import AttentionInterface

    # No mask function goes with it: transformers then makes no mask, and looks for no packed rows.
    AttentionInterface.register(NAME, packed_attention)
    model.set_attn_implementation(NAME)
