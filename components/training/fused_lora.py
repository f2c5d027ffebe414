"""A LoRA linear layer as one autograd function.

y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ with W frozen. Autograd over peft's forward keeps several copies of the
activations and adds the two branches apart; here x and x·Aᵀ are all that is kept, the weight
gradient of W is never formed, and the low-rank branch is added in place.
"""

from types import MethodType
from typing import Any

import torch


class FusedLora(torch.autograd.Function):
    """Shapes: x [..., in], weight [out, in], a [r, in], b [r → out: out, r]; `scale` is s."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low_a, low_b = a.to(x.dtype), b.to(x.dtype)
        down = rows @ low_a.t()
        y = torch.nn.functional.linear(rows, weight, bias)
        y.addmm_(down, low_b.t(), alpha=scale)
        ctx.save_for_backward(rows, weight, low_a, low_b, down)
        ctx.scale, ctx.adapter_dtype = scale, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, a, b, down = ctx.saved_tensors
        grad = grads[0]
        flat = grad.reshape(-1, grad.shape[-1])
        through_b = (flat @ b).mul_(ctx.scale)
        grad_b = (flat.t() @ down).mul_(ctx.scale).to(ctx.adapter_dtype)
        grad_a = (through_b.t() @ rows).to(ctx.adapter_dtype)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (flat @ weight).addmm_(through_b, a).view(*grad.shape[:-1], -1)
        return grad_x, None, None, grad_a, grad_b, None


def fuse_lora(model: torch.nn.Module) -> int:
    """Give every plain LoRA layer the fused forward; return how many were fused.

    Layers with dropout, DoRA or a quantised base keep peft's own forward.
    """
    from peft.tuners.lora import Linear

    fused = 0
    for module in model.modules():
        if type(module) is Linear and fusable(module):
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


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


def _forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> Any:
    if self.disable_adapters or self.merged:
        return self.base_layer(x)
    name = self.active_adapters[0]
    apply: Any = FusedLora.apply
    return apply(
        x,
        self.base_layer.weight,
        self.base_layer.bias,
        self.lora_A[name].weight,
        self.lora_B[name].weight,
        self.scaling[name],
    )
