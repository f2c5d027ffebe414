"""RMS norm and gated MLP as autograd functions that keep less and do less than autograd's own.

Both are for frozen weights: only the gradient of the input is formed. transformers' RMS norm keeps
its input in fp32 for the backward pass; here the input as it came and one number a row are kept,
and the gate's activation is computed again from the gate. Products that read their outputs keep
none of them (`remade`).
"""

from collections.abc import Mapping
from types import MethodType
from typing import Any

import torch

from components.training.fused_lora import KEPT, Stack, project, unproject
from components.training.remade import can_be_remade, source_of

NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
"""Classes whose forward is w · x / √(mean x² + ε), computed in fp32 (others add 1 to w)."""

GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")
"""Classes whose forward is down(act(gate(x)) · up(x))."""


SILU = ("SiLU", "SiLUActivation")


class FrozenRmsNorm(torch.autograd.Function):
    """y = w · x̂ with x̂ = x / √(mean x² + ε) (Zhang & Sennrich 2019, arXiv:1910.07467).

    Returns y and the scale 1 / √(mean x² + ε) [..., 1] in fp32.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wide = x.to(torch.float32, copy=True)
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = torch.rsqrt(length.square_().div_(x.shape[-1]).add_(eps))
        ctx.save_for_backward(x, weight, scale)
        ctx.mark_non_differentiable(scale)
        return wide.mul_(scale).to(x.dtype).mul_(weight), scale

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        grad = (grads[0] * weight).to(torch.float32)
        wide = x.to(torch.float32)
        # With g = w · dy: dx = s·g - x · s³ · mean(g · x), where s = 1 / √(mean x² + ε).
        along = (grad * wide).sum(-1, keepdim=True).mul_(scale.pow(3)).div_(-x.shape[-1])
        return grad.mul_(scale).addcmul_(wide, along).to(x.dtype), None, None


def normed(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return what `FrozenRmsNorm` did."""
    return x.to(torch.float32, copy=True).mul_(scale).to(x.dtype).mul_(weight)


class SiluGate(torch.autograd.Function):
    """silu(gate) · up (Shazeer 2020, arXiv:2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        grad_up = torch.nn.functional.silu(gate).mul_(grads[0])
        return torch.ops.aten.silu_backward(grads[0] * up, gate), grad_up


class GatedLora(torch.autograd.Function):
    """silu(gate(x)) · up(x) of stacked LoRA layers (arguments as of `FusedLora`).

    Returns it, and gate(x) beside up(x) [rows, 2 · out].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scales: tuple[float, ...],
        *pairs: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.remake, parts = source_of(x)
        y, saved = project(x, weight, bias, scales, pairs)
        ctx.save_for_backward(y, *saved, *parts)
        ctx.mark_non_differentiable(y)
        ctx.set_materialize_grads(False)
        ctx.scales, ctx.adapter_dtype, ctx.shape = scales, pairs[0].dtype, x.shape
        ctx.pairs = [pair.shape for pair in pairs]
        return gated(y).view(*x.shape[:-1], -1), y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        y, *saved = ctx.saved_tensors
        gate, up = y.chunk(2, dim=1)
        grad, flat = grads[0].reshape(len(y), -1), torch.empty_like(y)
        grad_gate, grad_up = flat.chunk(2, dim=1)
        torch.mul(torch.nn.functional.silu(gate), grad, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        grad_x, pairs = unproject(
            flat, ctx.remake(*saved[KEPT:]), saved[:KEPT], ctx.scales, ctx.pairs,
            ctx.adapter_dtype, needs_x=ctx.needs_input_grad[0],
        )  # fmt: skip
        return None if grad_x is None else grad_x.view(ctx.shape), None, None, None, *pairs


def gated(y: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) · up [rows, out] of gate beside up [rows, 2 · out]."""
    gate, up = y.chunk(2, dim=1)
    return torch.nn.functional.silu(gate).mul_(up)


def fuse_layers(model: torch.nn.Module, stacks: Mapping[Any, Stack]) -> int:
    """Give norms and gated MLPs of the known kinds these functions; return how many got one.

    `stacks` are those of `fuse_lora`: an MLP whose gate and up are one takes both at once.
    """
    fused = 0
    for module in model.modules():
        name = type(module).__name__
        if name in NORMS and not module.weight.requires_grad:
            module.forward = MethodType(_norm, module)
            fused += 1
        elif name in GATED and type(module.act_fn).__name__ in SILU:
            stack = stacks.get(module.gate_proj)
            together = stack is not None and len(stack.layers) == 2
            module.forward = MethodType(_stacked(stack) if together else _gated, module)
            fused += 1
    return fused


def _norm(self: Any, x: torch.Tensor) -> Any:
    apply: Any = FrozenRmsNorm.apply
    y, scale = apply(x, self.weight, self.variance_epsilon)
    return can_be_remade(y, normed, x, self.weight, scale)


def _gated(self: Any, x: torch.Tensor) -> Any:
    apply: Any = SiluGate.apply
    return self.down_proj(apply(self.gate_proj(x), self.up_proj(x)))


def _stacked(stack: Any) -> Any:
    def forward(self: Any, x: torch.Tensor) -> Any:
        if not stack.adapts():
            return _gated(self, x)
        apply: Any = GatedLora.apply
        h, y = apply(x, *stack.arguments())
        return self.down_proj(can_be_remade(h, gated, y))

    return forward
