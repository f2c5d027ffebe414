"""Cross-entropy without all logits at once (TRL's `loss_type: chunked_nll`).

The logits of n labelled tokens take n · vocabulary numbers, and as many again for their softmax and
its gradient: 2 GB each in fp32 for 4,096 tokens and a vocabulary of
128k. Here they exist for one chunk of
tokens at a time. The loss is a sum, so the gradient of a chunk is known as soon as its logits are:
it is formed in the forward pass, and nothing is computed twice.
"""

from collections.abc import Sequence
from typing import Any

import torch

from components.model.head import Head

CHUNK = 2**25
"""Logits of one chunk: 134 MB in fp32, 680 tokens of a vocabulary of 49k, 128 of one of 262k."""


def token_loss(
    head: Head,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    *,
    rows: int,
    trained: Sequence[torch.nn.Parameter] = (),
) -> torch.Tensor:
    """Return the summed negative log-likelihood in nats of `targets` [n] after `hidden` [n, width].

    At most `rows` tokens have logits at a time. `trained` are the weights that `head` reads and
    that want a gradient.
    """
    if len(hidden) <= rows:
        return whole(head, hidden, targets)
    if not torch.is_grad_enabled():
        pairs = zip(hidden.split(rows), targets.split(rows), strict=True)
        return torch.stack([whole(head, h, t) for h, t in pairs]).sum()
    apply: Any = ChunkedLoss.apply
    result: torch.Tensor = apply(head, rows, hidden, targets, *trained)
    return result


def whole(head: Head, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed loss of all tokens from all their logits."""
    return torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="sum")


class ChunkedLoss(torch.autograd.Function):
    """The sum of `whole` over chunks of tokens, and its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        head: Head,
        rows: int,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        *trained: torch.Tensor,
    ) -> torch.Tensor:
        through = ctx.needs_input_grad[2]
        total = torch.zeros((), device=hidden.device)
        grad = torch.empty_like(hidden)
        sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in trained]
        for start in range(0, len(hidden), rows):
            place = slice(start, start + rows)
            with torch.enable_grad():
                part = hidden[place].detach().requires_grad_(True)
                loss = whole(head, part, targets[place])
            grad[place], *found = torch.autograd.grad(loss, [part, *trained])
            total += loss.detach()
            for weight_sum, weight_grad in zip(sums, found, strict=True):
                weight_sum += weight_grad
        ctx.save_for_backward(grad if through else None, *sums)
        ctx.dtypes = [weight.dtype for weight in trained]
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, *sums = ctx.saved_tensors
        weights = [(s * grads[0]).to(dtype) for s, dtype in zip(sums, ctx.dtypes, strict=True)]
        through = None if hidden is None else hidden * grads[0]
        return None, None, through, None, *weights
