"""RMS norm and gated MLP as autograd functions that keep less and do less than autograd's own.

Both are for frozen weights: only the gradient of the input is formed. transformers' RMS norm keeps
its input in fp32 for the backward pass; here the input as it came and one number a row are kept,
and the gate's activation is computed again from the gate.
"""

from types import MethodType
from typing import Any

import torch

NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
"""Classes whose forward is w · x / √(mean x² + ε), computed in fp32 (others add 1 to w)."""

GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")
"""Classes whose forward is down(act(gate(x)) · up(x))."""


SILU = ("SiLU", "SiLUActivation")


class FrozenRmsNorm(torch.autograd.Function):
    """y = w · x̂ with x̂ = x / √(mean x² + ε) (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, scale)
        return weight * (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        grad = (grads[0] * weight).float()
        normal = x * scale  # in fp32; x itself must stay as it is: others may have kept it too
        along = (grad * normal).mean(-1, keepdim=True)
        return grad.sub_(normal.mul_(along)).mul_(scale).to(x.dtype), None, None


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


def fuse_layers(model: torch.nn.Module) -> int:
    """Give norms and gated MLPs of the known kinds these functions; return how many got one."""
    fused = 0
    for module in model.modules():
        name = type(module).__name__
        if name in NORMS and not module.weight.requires_grad:
            module.forward = MethodType(_norm, module)
            fused += 1
        elif name in GATED and type(module.act_fn).__name__ in SILU:
            module.forward = MethodType(_gated, module)
            fused += 1
    return fused


def _norm(self: Any, x: torch.Tensor) -> Any:
    apply: Any = FrozenRmsNorm.apply
    return apply(x, self.weight, self.variance_epsilon)


def _gated(self: Any, x: torch.Tensor) -> Any:
    apply: Any = SiluGate.apply
    return self.down_proj(apply(self.gate_proj(x), self.up_proj(x)))
