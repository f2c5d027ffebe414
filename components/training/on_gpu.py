"""Batches made on the host and sent to a GPU with all that the step would have to ask back.

A step that asks the device for a number (how many labels there are, whether rows are packed) stops
until all work given to it is done. The host knows these numbers before it sends the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from components.contracts.tables import IGNORED
from components.model.packed_attention import (
    Packed,
    has_kernel,
    lay_end_to_end,
    use_packed_attention,
)
from components.model.shared_prefix import attends_plainly
from components.training.collate import Inputs, pack, pad
from components.training.rows import Row
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from components.training.loop import Collate


@dataclass(frozen=True)
class Placed(Inputs):
    """A batch whose trained positions are known.

    `places` [trained] are those of the hidden states that predict, counted through the batch;
    `targets` [trained] is what they are to predict.
    """

    places: "torch.Tensor"
    targets: "torch.Tensor"


def collate_for_gpu(
    settings: TrainingSettings, model: Any, device: "torch.device", longest: int
) -> "Collate":
    """Return how rows become a batch on a GPU.

    Where there is a kernel for rows of different lengths, the rows of a batch lie end to end, be
    they packed (`packing`) or not: nothing is padded. Where there is none, or a family does more
    than attend to all earlier tokens (windows, capped scores), rows are padded, and packed ones
    keep transformers' own block mask.
    """
    import torch

    if attends_by_length(settings, model, longest) and kernel_for(model, device):
        use_packed_attention(model)
        return partial(placed, layout=pack_with_lengths, device=device)
    plain = partial(pack if settings.packing else pad, device=torch.device("cpu"))
    return partial(placed, layout=plain, device=device)


def attends_by_length(settings: TrainingSettings, model: Any, longest: int) -> bool:
    """Say whether rows can be attended to by their lengths alone."""
    config = model.config.get_text_config()
    drops = any(getattr(config, name, 0) for name in ("attention_dropout", "attn_pdrop"))
    # The compiler would build its code anew for every set of lengths.
    return not settings.torch_compile and not drops and attends_plainly(model, longest)


def kernel_for(model: Any, device: "torch.device") -> bool:
    """Say whether a GPU has a kernel for the heads of `model`; a CPU takes row by row instead."""
    import torch

    if device.type != "cuda":
        return True
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return has_kernel(torch.empty(0, width, dtype=model.dtype, device=device))


def pack_with_lengths(rows: Sequence[Row]) -> Inputs:
    """Lay rows end to end on the CPU, their lengths beside them."""
    import torch

    inputs = pack(rows, torch.device("cpu"))
    packed = lay_end_to_end([len(row.input_ids) for row in rows])
    return replace(inputs, arguments={**inputs.arguments, "packed": packed})


def placed(
    rows: Sequence[Row], *, layout: Callable[[Sequence[Row]], Inputs], device: "torch.device"
) -> Placed:
    """Lay rows out on the host, find what is trained, and send all of it without waiting."""
    inputs = layout(rows)
    width = inputs.labels.shape[1]
    trained = inputs.labels[:, 1:] != IGNORED
    row, place = trained.nonzero(as_tuple=True)
    send = partial(sent, device=device)
    return Placed(
        {name: sent_argument(value, send) for name, value in inputs.arguments.items()},
        send(inputs.labels),
        inputs.tokens,
        places=send(row * width + place),
        targets=send(inputs.labels[:, 1:][trained]),
    )


def sent_argument(value: Any, send: "Callable[[torch.Tensor], torch.Tensor]") -> Any:
    """Send what a forward is given: a tensor, or where packed rows begin."""
    if isinstance(value, Packed):
        return replace(value, starts=send(value.starts))
    return send(value)


def sent(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Return `tensor` on `device`; out of pinned memory the host need not wait for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
