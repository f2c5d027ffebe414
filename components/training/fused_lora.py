"""LoRA linear layers as one autograd function, those that read the same input as one product.

y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ with W frozen. Autograd over peft's forward keeps several copies of the
activations and adds the two branches apart; here x (or what it is made of, see `remade`) and x·Aᵀ
are all that is kept, the weight gradient of W is never formed, and the low-rank branch is added in
place. Query, key and value (gate and up) read one input: their W and A are stacked, their B stand
on a block diagonal.
"""

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch

from components.training.remade import source_of

SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that one module applies to one input, in models of the Llama kind."""

KEPT = 4
"""Tensors that `project` wants kept, besides its input."""

Pairs = Sequence[torch.Tensor]
"""a₁, b₁, a₂, b₂, …: the adapter weights of stacked layers."""


class FusedLora(torch.autograd.Function):
    """Stacked LoRA layers: x [..., in] → one y [..., outᵢ] a layer.

    `weight` [Σ out, in] and `bias` [Σ out] are the frozen layers stacked; `scales` holds one s a
    layer; `pairs` are aᵢ [rᵢ, in] and bᵢ [outᵢ, rᵢ].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scales: tuple[float, ...],
        *pairs: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        ctx.remake, parts = source_of(x)
        y, saved = project(x, weight, bias, scales, pairs)
        ctx.save_for_backward(*saved, *parts)
        ctx.scales, ctx.adapter_dtype = scales, pairs[0].dtype
        ctx.pairs = [pair.shape for pair in pairs]
        parts = y.split([b.shape[0] for b in pairs[1::2]], dim=1)
        return tuple(part.view(*x.shape[:-1], -1) for part in parts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat = grads[0].reshape(-1, grads[0].shape[-1])
        if len(grads) > 1:
            flat = torch.cat([grad.reshape(-1, grad.shape[-1]) for grad in grads], dim=1)
        saved = ctx.saved_tensors
        grad_x, pairs = unproject(
            flat, ctx.remake(*saved[KEPT:]), saved[:KEPT], ctx.scales, ctx.pairs,
            ctx.adapter_dtype, needs_x=ctx.needs_input_grad[0],
        )  # fmt: skip
        if grad_x is not None:
            grad_x = grad_x.view(*grads[0].shape[:-1], -1)
        return grad_x, None, None, None, *pairs


def project(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scales: tuple[float, ...],
    pairs: Pairs,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return y [rows, Σ out] of stacked layers, and what `unproject` needs besides x."""
    rows = x.reshape(-1, x.shape[-1])
    low, up = stack(pairs, scales, x.dtype)
    down = rows @ low.t()
    y = torch.nn.functional.linear(rows, weight, bias)
    y.addmm_(down, up.t())
    return y, (weight, low, up, down)


def unproject(
    flat: torch.Tensor,
    x: torch.Tensor,
    saved: Sequence[torch.Tensor],
    scales: tuple[float, ...],
    shapes: Sequence[torch.Size],
    dtype: torch.dtype,
    *,
    needs_x: bool,
) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """Return the gradients of x and of the pairs, from that of y [rows, Σ out].

    `x` [..., in] and `saved` are what `project` was given and returned; the gradient of x is
    [rows, in]. `shapes` and `dtype` are those of the pairs.
    """
    weight, low, up, down = saved
    rows = x.reshape(-1, x.shape[-1])
    through = flat @ up
    grad_low = (through.t() @ rows).to(dtype)
    grad_up = flat.t() @ down
    grad_x = (flat @ weight).addmm_(through, low) if needs_x else None
    pairs: list[torch.Tensor] = []
    rank = out = 0
    for scale, a, b in zip(scales, shapes[::2], shapes[1::2], strict=True):
        pairs.append(grad_low[rank : rank + a[0]])
        block = grad_up[out : out + b[0], rank : rank + a[0]]
        pairs.append(block.to(dtype).mul_(scale))
        rank, out = rank + a[0], out + b[0]
    return grad_x, pairs


def stack(
    pairs: Pairs, scales: tuple[float, ...], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A [Σ r, in] and the scaled block diagonal of B [Σ out, Σ r], in `dtype`."""
    low = torch.cat([a.to(dtype) for a in pairs[::2]])
    ups = [b.to(dtype) * scale for b, scale in zip(pairs[1::2], scales, strict=True)]
    return low, torch.block_diag(*ups) if len(ups) > 1 else ups[0]


class Stack:
    """Plain LoRA layers that are given the same input: one product answers for all of them.

    The first layer that is called computes; the others find their part waiting. It is kept until
    it is asked for or a new input comes.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = layers
        first = layers[0].base_layer
        self.weight, self.bias = first.weight, first.bias
        if len(layers) > 1:
            self.weight = share_memory([layer.base_layer.weight for layer in layers])
            if first.bias is not None:
                self.bias = share_memory([layer.base_layer.bias for layer in layers])
        self.x: torch.Tensor | None = None
        self.parts: list[torch.Tensor | None] = []

    def part(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """Return the output of layer `index` for `x`."""
        if self.x is not x or self.parts[index] is None:
            self.x, self.parts = x, list(self.compute(x))
        part, self.parts[index] = self.parts[index], None
        if not any(rest is not None for rest in self.parts):
            self.x = None
        assert part is not None
        return part

    def compute(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs of all layers for `x`."""
        apply: Any = FusedLora.apply
        result: tuple[torch.Tensor, ...] = apply(x, *self.arguments())
        return result

    def arguments(self) -> tuple[Any, ...]:
        """Return stacked weight and bias, scales and pairs, as the fused functions take them."""
        pairs, scales = [], []
        for layer in self.layers:
            name = layer.active_adapters[0]
            pairs += [layer.lora_A[name].weight, layer.lora_B[name].weight]
            scales.append(layer.scaling[name])
        return self.weight, self.bias, tuple(scales), *pairs

    def adapts(self) -> bool:
        """Say whether the adapters count now: they may be switched off, or merged already."""
        return not any(layer.disable_adapters or layer.merged for layer in self.layers)


def share_memory(frozen: Sequence[torch.nn.Parameter]) -> torch.Tensor:
    """Return frozen parameters stacked along their first axis; they become views of the result."""
    whole = torch.cat([parameter.detach() for parameter in frozen])
    for parameter, part in zip(frozen, whole.split([len(p) for p in frozen]), strict=True):
        parameter.data = part
    return whole


def fuse_lora(model: torch.nn.Module) -> dict[Any, Stack]:
    """Give every plain LoRA layer the fused forward; return the stack of each.

    Layers with dropout, DoRA or a quantised base keep peft's own forward.
    """
    from peft.tuners.lora import Linear

    stacks: dict[Any, Stack] = {}
    for module in list(model.modules()):
        for names in SIBLINGS:
            layers = [getattr(module, name, None) for name in names]
            if all(type(layer) is Linear and fusable(layer) for layer in layers):
                stacks |= fuse(layers)
    single = [m for m in model.modules() if type(m) is Linear and m not in stacks and fusable(m)]
    for layer in single:
        stacks |= fuse([layer])
    return stacks


def fuse(layers: Sequence[Any]) -> dict[Any, Stack]:
    """Give layers that read the same input one forward; biases must be everywhere or nowhere."""
    with_bias = [layer.base_layer.bias is not None for layer in layers]
    groups = [layers] if len(set(with_bias)) == 1 else [[layer] for layer in layers]
    stacks = {}
    for group in groups:
        stacked = Stack(group)
        for index, layer in enumerate(group):
            layer.forward = MethodType(forward_of(stacked, index), layer)
            stacks[layer] = stacked
    return stacks


def forward_of(stacked: Stack, index: int) -> Any:
    """Return the forward of layer `index` of a stack, to be bound to that layer."""

    def forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> Any:
        if self.disable_adapters or self.merged:
            return self.base_layer(x)
        return stacked.part(index, x)

    return forward


def fusable(layer: Any) -> bool:
    """Say whether a peft layer is y = Wx + s·BAx with a plain frozen W and one adapter."""
    name = layer.active_adapters[0]
    return (
        type(layer.base_layer) is torch.nn.Linear
        and len(layer.active_adapters) == 1
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and not layer.use_dora.get(name, False)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
    )
