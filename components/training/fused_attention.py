"""Query, key, value, rotation and attention over a flat batch as one autograd function.

The same arithmetic as the model's own layers with `components.model.shared_prefix`, but every
tensor is copied once where autograd would copy it several times: heads are gathered straight into
the order in which they are multiplied, and gradients back into the order of the stacked projection.
"""

from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch

from components.model.shared_prefix import NAME, Layout
from components.training.fused_lora import KEPT, Stack, project, unproject
from components.training.remade import source_of

ATTENTION = ("LlamaAttention", "MistralAttention", "Qwen2Attention")
"""Classes whose attention is o(softmax(rot(q)·rot(k)ᵀ / √width)·v), without norms of q and k."""


@dataclass(frozen=True)
class Heads:
    """Heads of queries, heads of keys (and of values), and the width of one."""

    queries: int
    keys: int
    width: int

    @property
    def all(self) -> int:
        return self.queries + 2 * self.keys


@dataclass(frozen=True)
class Gathers:
    """Where heads of tokens go, for flat tokens [tokens · heads, width] in the order q, k, v.

    `there` lists, for padded queries [rows, key heads, group, longest], keys and values [rows, key
    heads, prefix + longest], which head of which token each one is. `back` [n, heads] is where in
    that list each head of a token behind the prefix stands. `bias` [group · longest, keys] says
    who may look where.
    """

    there: torch.Tensor
    back: torch.Tensor
    bias: torch.Tensor
    queries: int
    keys: int


def gathers(layout: Layout, heads: Heads) -> Gathers:
    """Return the gathers for a layout, made once a batch."""
    known: Gathers | None = layout.memo.get(heads)
    if known is None:
        known = layout.memo[heads] = make_gathers(layout, heads)
    return known


def make_gathers(layout: Layout, heads: Heads) -> Gathers:
    p, rows, longest, device = layout.prefix, layout.rows, layout.longest, layout.place.device
    group = heads.queries // heads.keys
    place = layout.place.view(rows, longest) + p
    seen = torch.cat([torch.arange(p, device=device).expand(rows, p), place], dim=1)
    head = torch.arange(heads.all, device=device)
    q = place[:, None] * heads.all + head[: heads.queries, None]
    k = seen[:, None] * heads.all + head[heads.queries : heads.queries + heads.keys, None]
    v = k + heads.keys
    row, slot = layout.slot // longest, layout.slot % longest
    nq, nk = q.numel(), k.numel()
    back_q = (row[:, None] * heads.queries + head[: heads.queries]) * longest + slot[:, None]
    back_k = (row[:, None] * heads.keys + head[: heads.keys]) * (p + longest) + (p + slot)[:, None]
    return Gathers(
        there=torch.cat([q.flatten(), k.flatten(), v.flatten()]),
        back=torch.cat([back_q, back_k + nq, back_k + nq + nk], dim=1),
        bias=layout.bias[0, 0, 0].expand(group, -1, -1).reshape(group * longest, -1),
        queries=nq,
        keys=nk,
    )


class FusedAttention(torch.autograd.Function):
    """x [1, tokens, in] → attention before the output projection [1, tokens, heads · width].

    `cos` and `sin` [1, tokens, width] rotate queries and keys as in transformers (the halves of a
    head are a pair: RoFormer, Su et al. 2021, arXiv:2104.09864). `weight`, `bias`, `scales` and
    `pairs` are those of the stacked projections (see `FusedLora`).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        layout: Layout,
        heads: Heads,
        scaling: float,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scales: tuple[float, ...],
        *pairs: torch.Tensor,
    ) -> torch.Tensor:
        ctx.remake, parts = source_of(x)
        y, saved = project(x, weight, bias, scales, pairs)
        tokens, turned = y.view(-1, heads.all, heads.width), heads.queries + heads.keys
        flat = torch.empty_like(tokens)
        rotate(tokens[:, :turned], cos, sin, out=flat[:, :turned])
        flat[:, turned:] = tokens[:, turned:]
        plan, p = gathers(layout, heads), layout.prefix
        q, k, v = gathered(flat, plan, layout, heads)
        weights, rows = attend(q, k, v, plan.bias, scaling)
        out = torch.empty_like(flat[:, : heads.queries])
        picked = rows.view(-1, heads.width).index_select(0, plan.back[:, : heads.queries].flatten())
        out[p:] = picked.view(-1, heads.queries, heads.width)
        first: tuple[torch.Tensor, ...] = ()
        if p:
            q_p, k_p, v_p = prefix_heads(flat[:p], heads)
            bias_p = layout.prefix_bias[0, 0, 0].repeat(heads.queries // heads.keys, 1)
            weights_p, rows_p = attend(q_p, k_p, v_p, bias_p, scaling)
            out[:p] = rows_p.view(heads.queries, p, -1).transpose(0, 1)
            first = (weights_p,)
        ctx.save_for_backward(*saved, cos, sin, flat, weights, *first, *parts)
        ctx.layout, ctx.heads, ctx.scaling = layout, heads, scaling
        ctx.scales, ctx.pairs, ctx.shape = scales, [pair.shape for pair in pairs], x.shape
        ctx.adapter_dtype = pairs[0].dtype
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        kept = ctx.saved_tensors  # once: with gradient checkpointing, each reading computes again
        layout, heads, scaling = ctx.layout, ctx.heads, ctx.scaling
        plan, p = gathers(layout, heads), layout.prefix
        *saved, cos, sin, rotated, weights = kept[: KEPT + 4]
        first, parts = kept[KEPT + 4 :][: p > 0], kept[KEPT + 4 + (p > 0) :]
        q, k, v = gathered(rotated, plan, layout, heads)
        grad = grads[0].reshape(-1, heads.queries, heads.width)
        buffer = grad.new_empty(plan.queries + 2 * plan.keys, heads.width)
        dq, dk, dv = split(buffer, plan, layout, heads)
        padded = torch.zeros_like(dq)
        order = plan.back[:, : heads.queries].flatten()
        padded.view(-1, heads.width).index_copy_(0, order, grad[p:].reshape(-1, heads.width))
        attend_backward(padded, q, k, v, weights, scaling, dq, dk, dv)
        flat = grad.new_empty(p + len(plan.back), heads.all, heads.width)
        flat[p:] = buffer.index_select(0, plan.back.flatten()).view(-1, heads.all, heads.width)
        if p:
            (weights_p,) = first
            q_p, k_p, v_p = prefix_heads(rotated[:p], heads)
            head = grad[:p].transpose(0, 1).reshape(q_p.shape)
            dq_p, dk_p, dv_p = (torch.empty_like(part) for part in (q_p, k_p, v_p))
            attend_backward(head, q_p, k_p, v_p, weights_p, scaling, dq_p, dk_p, dv_p)
            flat[:p, : heads.queries] = dq_p.view(heads.queries, p, -1).transpose(0, 1)
            for own, rows, at in ((dk_p, dk, 0), (dv_p, dv, 1)):
                by_row = rows.view(layout.rows, heads.keys, -1, heads.width)[:, :, :p]
                begin = heads.queries + at * heads.keys
                own = own + by_row.sum(0)
                flat[:p, begin : begin + heads.keys] = own.transpose(0, 1)
        turned = heads.queries + heads.keys
        flat[:, :turned] = rotate_back(flat[:, :turned], cos, sin)
        grad_x, grad_pairs = unproject(
            flat.view(len(flat), -1), ctx.remake(*parts), saved, ctx.scales, ctx.pairs,
            ctx.adapter_dtype, needs_x=ctx.needs_input_grad[0],
        )  # fmt: skip
        through = None if grad_x is None else grad_x.view(ctx.shape)
        return through, *[None] * 8, *grad_pairs


def gathered(
    flat: torch.Tensor, plan: Gathers, layout: Layout, heads: Heads
) -> tuple[torch.Tensor, ...]:
    """Return q, k and v as `split` does, of turned heads [tokens, heads, width]."""
    return split(flat.view(-1, heads.width).index_select(0, plan.there), plan, layout, heads)


def split(
    buffer: torch.Tensor, plan: Gathers, layout: Layout, heads: Heads
) -> tuple[torch.Tensor, ...]:
    """Return views q [rows · keys, group · longest, width], k and v of a gathered buffer."""
    q, k, v = buffer.split([plan.queries, plan.keys, plan.keys])
    batch = layout.rows * heads.keys
    return tuple(part.view(batch, -1, heads.width) for part in (q, k, v))


def prefix_heads(flat: torch.Tensor, heads: Heads) -> tuple[torch.Tensor, ...]:
    """Return q [key heads, group · p, width], k and v [key heads, p, width] of the prefix."""
    parts = flat.transpose(0, 1).split([heads.queries, heads.keys, heads.keys])
    return tuple(part.reshape(heads.keys, -1, heads.width) for part in parts)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(scaling · q kᵀ + bias) [batch, n, keys] and its product with v."""
    scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=scaling)
    weights = torch.softmax(scores, -1)
    return weights, torch.bmm(weights, v)


def attend_backward(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    weights: torch.Tensor,
    scaling: float,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
) -> None:
    """Write the gradients of `attend` into dq, dk and dv."""
    torch.bmm(weights.transpose(1, 2), grad, out=dv)
    scores = torch._softmax_backward_data(
        torch.bmm(grad, v.transpose(1, 2)), weights, -1, weights.dtype
    )
    torch.bmm(scores.mul_(scaling), k, out=dq)
    torch.bmm(scores.transpose(1, 2), q, out=dk)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, out: torch.Tensor) -> None:
    """Write x [tokens, heads, width], turned by the angles of each token, into `out`."""
    half = x.shape[-1] // 2
    torch.mul(x, cos[0, :, None], out=out)
    out[..., :half].addcmul_(x[..., half:], sin[0, :, None, :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[0, :, None, half:])


def rotate_back(grad: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Return the gradient of what was turned."""
    half = grad.shape[-1] // 2
    turned = grad * cos[0, :, None]
    turned[..., :half].addcmul_(grad[..., half:], sin[0, :, None, half:])
    turned[..., half:].addcmul_(grad[..., :half], sin[0, :, None, :half], value=-1)
    return turned


def fuse_attention(model: torch.nn.Module, stacks: dict[Any, Stack]) -> int:
    """Give attention layers of the known kinds this function; return how many got it.

    Only layers whose q, k and v are one stack, and only for flat batches: `model` must attend by
    layout (`components.model.shared_prefix.use_shared_prefix_attention`).
    """
    fused = 0
    for module in model.modules():
        stack = stacks.get(getattr(module, "q_proj", None))
        if type(module).__name__ in ATTENTION and stack is not None and len(stack.layers) == 3:
            width: Any = module.head_dim
            queries, keys, _ = (layer.base_layer.out_features // width for layer in stack.layers)
            heads = Heads(queries, keys, width)
            module.forward = MethodType(forward_of(stack, heads, module.forward), module)
            fused += 1
    return fused


def forward_of(stack: Stack, heads: Heads, plain: Any) -> Any:
    """Return the forward of an attention layer, to be bound to it; `plain` is its own one."""

    def forward(self: Any, hidden_states: torch.Tensor, **others: Any) -> Any:
        layout = others.get("layout")
        flat = self.config._attn_implementation == NAME and others.get("past_key_values") is None
        if layout is None or not flat or not stack.adapts():
            return plain(hidden_states, **others)
        cos, sin = others["position_embeddings"]
        apply: Any = FusedAttention.apply
        mixed = apply(hidden_states, cos, sin, layout, heads, self.scaling, *stack.arguments())
        return self.o_proj(mixed), None

    return forward
