"""A LoRA layer on a 4-bit base as one autograd function.

y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ with W rounded. peft runs the two branches apart, casts x to fp32 (the
adapter's dtype) for the second and keeps that copy; here x and x·Aᵀ are all that is kept, both
branches are multiplied in the compute dtype, and W is made from its 4 bits where it is needed.
"""

from types import MethodType
from typing import Any

import torch


class FusedQuantized(torch.autograd.Function):
    """x [..., in] → y [..., out]; `a` [r, in] and `b` [out, r] are trained, `base` is frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, base: Any, scale: float, a: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low, up = a.to(x.dtype), b.to(x.dtype) * scale
        bias = None if base.bias is None else base.bias.to(x.dtype)
        down = rows @ low.t()
        y = torch.nn.functional.linear(rows, weight_of(base, x.dtype), bias)
        y.addmm_(down, up.t())
        ctx.save_for_backward(rows, low, up, down)
        ctx.base, ctx.scale, ctx.adapter_dtype = base, scale, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, low, up, down = ctx.saved_tensors
        flat = grads[0].reshape(-1, grads[0].shape[-1])
        through = flat @ up
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (flat @ weight_of(ctx.base, flat.dtype)).addmm_(through, low)
            grad_x = grad_x.view(*grads[0].shape[:-1], -1)
        grad_low = (through.t() @ rows).to(ctx.adapter_dtype)
        grad_up = (flat.t() @ down).to(ctx.adapter_dtype).mul_(ctx.scale)
        return grad_x, None, None, grad_low, grad_up


def weight_of(base: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return the weight [out, in] that the 4 bits of a bitsandbytes layer stand for."""
    from bitsandbytes.functional import dequantize_4bit

    weight: torch.Tensor = dequantize_4bit(base.weight.data, base.weight.quant_state)
    return weight.to(dtype)


def fuse_quantized(model: torch.nn.Module, dtype: torch.dtype) -> int:
    """Give every plain LoRA layer on a 4-bit base the fused forward; return how many got it.

    `dtype` is that of the activations. Layers with dropout, DoRA or another compute dtype keep
    peft's own forward.
    """
    layers = [m for m in model.modules() if is_on_four_bits(m) and fusable(m, dtype)]
    for layer in layers:
        layer.forward = MethodType(forward, layer)
    return len(layers)


def is_on_four_bits(module: Any) -> bool:
    """Say whether a module is peft's LoRA on a 4-bit layer, without importing bitsandbytes."""
    base = getattr(module, "base_layer", None)
    return hasattr(module, "lora_A") and type(base).__name__ == "Linear4bit"


def fusable(layer: Any, dtype: torch.dtype) -> bool:
    """Say whether a layer is y = Wx + b + s·BAx with one adapter, all in `dtype`."""
    name = layer.active_adapters[0]
    return (
        len(layer.active_adapters) == 1
        and name not in layer.lora_variant
        and layer.base_layer.compute_dtype == dtype
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and layer.lora_B[name].bias is None
    )


def forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> Any:
    """Take the place of peft's forward."""
    if self.disable_adapters or self.merged:
        return self.base_layer(x)
    name = self.active_adapters[0]
    apply: Any = FusedQuantized.apply
    a, b = self.lora_A[name].weight, self.lora_B[name].weight
    return apply(x, self.base_layer, self.scaling[name], a, b)
