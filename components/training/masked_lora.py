"""A LoRA layer on a pruned base: what is trained is what is left after merging and masking.

y = x·(M ∘ (W + s·B·A))ᵀ + b with M ∘ W = W frozen. An adapter that is trained without the mask
and masked afterwards would lose half of what it learned (Zimmer et al. 2023, arXiv:2312.15230).
The masked product is formed for the whole layer, so a step costs more than plain LoRA's.
"""

from types import MethodType
from typing import Any

import torch

from components.contracts.errors import ModelError
from components.model.pruning import Masks


class MaskedLora(torch.autograd.Function):
    """x [..., in] → y [..., out].

    `weight` [out, in] and `bias` [out] are frozen, `mask` [out, in] is True where a weight stays,
    `low` [r, in] and `up` [out, r] are the adapter, `scale` is s.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        mask: torch.Tensor,
        low: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, mask, low, up)
        ctx.scale = scale
        # Two products, not one of the sum: in bf16 the sum would round small changes away.
        y = torch.nn.functional.linear(x, weight, bias)
        return y + torch.nn.functional.linear(x, added(mask, low, up, scale, x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, mask, low, up = ctx.saved_tensors
        (grad,) = grads
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight + grad @ added(mask, low, up, ctx.scale, grad.dtype)
        rows, outs = x.flatten(0, -2), grad.flatten(0, -2)
        through = (outs.t() @ rows).to(low.dtype).mul_(mask).mul_(ctx.scale)
        return grad_x, None, None, None, up.t() @ through, through @ low.t(), None


def added(
    mask: torch.Tensor, low: torch.Tensor, up: torch.Tensor, scale: float, dtype: torch.dtype
) -> torch.Tensor:
    """Return M ∘ (s·B·A) [out, in]."""
    return ((up @ low) * mask).mul_(scale).to(dtype)


def mask_adapter(model: Any, masks: Masks) -> int:
    """Give every adapted layer of the transformers model `model` the masked forward.

    Returns how many there are; layers without an adapter need none.

    Raises:
        ModelError: a layer is adapted otherwise than by plain LoRA.
    """
    count = 0
    for name, mask in masks.items():
        layer = model.get_submodule(name)
        if not hasattr(layer, "base_layer"):
            continue
        check_plain(layer, name)
        layer.forward = MethodType(forward_of(mask.to(layer.base_layer.weight.device)), layer)
        count += 1
    return count


def forward_of(mask: torch.Tensor) -> Any:
    """Return the forward of one layer, to be bound to it."""

    def forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> Any:
        base = self.base_layer
        if self.disable_adapters or self.merged:
            return base(x)
        name = self.active_adapters[0]
        low, up = self.lora_A[name].weight, self.lora_B[name].weight
        weight, kept = base.weight, mask
        if not hasattr(base, "in_features"):  # GPT-2's layers hold their weight as [in, out]
            weight, kept = weight.t(), mask.t()
        apply: Any = MaskedLora.apply
        return apply(x, weight, base.bias, kept, low, up, self.scaling[name])

    return forward


def check_plain(layer: Any, name: str) -> None:
    """Raise `ModelError` unless a peft layer is W + s·B·A with a plain frozen W."""
    from transformers.pytorch_utils import Conv1D

    adapter = layer.active_adapters[0]
    plain = (
        type(layer.base_layer) in (torch.nn.Linear, Conv1D)
        and not layer.base_layer.weight.requires_grad
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
        and not layer.use_dora.get(adapter, False)
    )
    if not plain:
        raise ModelError(
            f"training.pruning needs plain LoRA on a base in full precision, but {name} has other",
            fix="set load_in_4bit, load_in_8bit and use_dora to false and lora_dropout to 0",
        )
