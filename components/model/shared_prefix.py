"""Attention for a flat batch: a shared prefix, then rows end to end; a row sees prefix and itself.

What all rows of a batch begin with (a system prompt, an instruction) is computed once, and no
padding ever enters a linear layer: only the small score matrices are padded. Because attention is
causal, the prefix is the same for every row, so losses and gradients are exactly those of the rows
one by one. On CPU, batched matrix products beat SDPA for short rows (docs/log.md has figures).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

NAME = "tuneline_shared_prefix"


@dataclass(frozen=True)
class Layout:
    """Where rows lie behind a prefix of `prefix` tokens in a flat sequence of `prefix` + n.

    `place` [rows · longest] gives for each padded slot the token (0 … n-1) that fills it (padding
    takes any), `slot` [n] for each token its padded slot. `bias` [1, 1, 1, longest, prefix +
    longest] is 0 where a token may look and the lowest number of the dtype where not; real tokens
    never look at padding, as it lies behind them. `prefix_bias` is the same for the prefix itself.
    `memo` holds what an attention layer derives from the layout, for the layers after it.
    """

    prefix: int
    rows: int
    longest: int
    place: "torch.Tensor"
    slot: "torch.Tensor"
    bias: "torch.Tensor"
    prefix_bias: "torch.Tensor"
    memo: dict[Any, Any] = field(default_factory=dict)


def shared_prefix_attention(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    layout: Layout,
    **_: Any,
) -> tuple["torch.Tensor", None]:
    """Return (output [1, tokens, heads, width], None) for query [1, heads, tokens, width].

    Keys and values [1, heads, prefix + n, width] may have fewer heads (grouped queries). The query
    has the same tokens, or only the n behind the prefix when that came out of a cache.
    """
    import torch

    query = query * (module.head_dim**-0.5 if scaling is None else scaling)
    p = layout.prefix
    q = query.shape[2] + p - key.shape[2]
    k, v = with_prefix(key, layout), with_prefix(value, layout)
    rows = attend(spread(query[:, :, q:], layout), k, v, layout.bias).transpose(1, 2).flatten(0, 1)
    rows = rows.index_select(0, layout.slot)
    if not q:
        return rows[None], None
    # A query of the prefix sees keys of the prefix alone: the corner of the same causal mask.
    head = attend(query[:, :, :p], key[:, :, :p], value[:, :, :p], layout.prefix_bias)
    return torch.cat([head[0].transpose(0, 1), rows])[None], None


def attend(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", bias: "torch.Tensor"
) -> "torch.Tensor":
    """Return attention [rows, heads, n, width]; `query` is scaled, `bias` [1, 1, 1, n, keys].

    Query heads that share a key are laid side by side, so keys are never copied.
    """
    import torch

    rows, heads, n, width = query.shape
    groups, keys = key.shape[1], key.shape[2]
    grouped = query.reshape(rows, groups, -1, width)
    scores = (grouped @ key.transpose(2, 3)).view(rows, groups, heads // groups, n, keys)
    weights = torch.softmax(scores + bias, -1).view(rows, groups, -1, keys)
    return (weights @ value).view(rows, heads, n, width)


def spread(tails: "torch.Tensor", layout: Layout) -> "torch.Tensor":
    """Return tokens [1, heads, n, width] as rows [rows, heads, longest, width], padded."""
    tokens = tails[0].transpose(0, 1)
    # index_select, not indexing: its backward adds rows, where indexing's sorts them first.
    padded = tokens.index_select(0, layout.place)
    return padded.view(layout.rows, layout.longest, *tokens.shape[1:]).transpose(1, 2)


def with_prefix(flat: "torch.Tensor", layout: Layout) -> "torch.Tensor":
    """Return prefix and row tokens as [rows, heads, prefix + longest, width]."""
    import torch

    tails = spread(flat[:, :, layout.prefix :], layout)
    if not layout.prefix:
        return tails
    prefix = flat[:, :, : layout.prefix].expand(layout.rows, -1, -1, -1)
    return torch.cat([prefix, tails], dim=2)


def lay_out(p: int, tails: Sequence[int], device: "torch.device", dtype: "torch.dtype") -> Layout:
    """Return the layout of rows of `tails` tokens behind a prefix of `p`, for scores of `dtype`."""
    import torch

    count, longest = len(tails), max(tails)
    filled = np.arange(longest) < np.array(tails)[:, None]
    place = np.where(filled, np.cumsum(filled).reshape(count, longest) - 1, 0)
    hidden = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=device)
    causal = torch.triu(hidden.expand(p + longest, p + longest), diagonal=1)[None, None, None]
    return Layout(
        prefix=p,
        rows=count,
        longest=longest,
        place=torch.from_numpy(place.reshape(-1)).to(device, non_blocking=True),
        slot=torch.from_numpy(np.flatnonzero(filled.reshape(-1))).to(device, non_blocking=True),
        bias=causal[..., p:, :],
        prefix_bias=causal[..., :p, :p],
    )


def positions(p: int, tails: Sequence[int]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the position ids of a prefix of `p` tokens and of the rows behind it, flat."""
    parts = [np.arange(p), *(np.arange(p, p + tail) for tail in tails)]
    return np.concatenate(parts).astype(np.int64)


def attends_plainly(model: Any, longest: int) -> bool:
    """Say whether softmax(QKᵀ)·V over all earlier tokens is this model's attention.

    It is not where a window of fewer than `longest` tokens, a cap on the scores or sinks come in,
    nor where the model does not take its attention from transformers' interface.
    """
    config = model.config.get_text_config()
    windows = [
        getattr(config, "sliding_window", None),
        getattr(config, "attention_chunk_size", None),
    ]
    return (
        bool(getattr(model, "_supports_attention_backend", False))
        and not getattr(config, "attn_logit_softcapping", None)
        and all(window is None or window >= longest for window in windows)
        and not any("sinks" in name for name, _ in model.named_parameters())
    )


def use_shared_prefix_attention(model: Any) -> None:
    """Make `model` attend by the `layout` that is passed to its forward."""
    use_attention(model, NAME, shared_prefix_attention)


def use_attention(model: Any, name: str, function: Any) -> None:
    """Make `model` attend by `function`, which transformers learns under `name`, without masks."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, no_mask)
    model.set_attn_implementation(name)


def shared_prefix(model: Any) -> AbstractContextManager[None]:
    """Make `model` attend by layout inside the block, and as before after it."""
    return attending(model, NAME, shared_prefix_attention)


@contextmanager
def attending(model: Any, name: str, function: Any) -> Iterator[None]:
    """Make `model` attend by `function` inside the block, and as before after it."""
    before = model.config._attn_implementation
    use_attention(model, name, function)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def no_mask(*_: Any, **__: Any) -> None:
    """Layout or bias say who sees whom, so transformers need not build a mask."""
