"""Batches made on the host and sent to a GPU with all that the step would have to ask back.

A step that asks the device for a number (how many labels there are, whether rows are packed) stops
until all work given to it is done. The host knows these numbers before it sends the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from components.contracts.tables import IGNORED
from components.model.packed_attention import Packed, lay_end_to_end, use_packed_attention
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
    """Return how rows become a batch on a GPU; packed ones are attended to by their lengths.

    Where a family does more than attend to all earlier tokens (windows, capped scores), packed
    rows keep transformers' own block mask.
    """
    import torch

    cpu = torch.device("cpu")
    if not settings.packing:
        return partial(placed, layout=partial(pad, device=cpu), device=device)
    if not attends_by_length(settings, model, longest):
        return partial(placed, layout=partial(pack, device=cpu), device=device)
    use_packed_attention(model)
    return partial(placed, layout=pack_with_lengths, device=device)


def attends_by_length(settings: TrainingSettings, model: Any, longest: int) -> bool:
    """Say whether packed rows can go through the variable-length kernel unchanged."""
    config = model.config.get_text_config()
    drops = any(getattr(config, name, 0) for name in ("attention_dropout", "attn_pdrop"))
    # The compiler would build its code anew for every set of lengths.
    return not settings.torch_compile and not drops and attends_plainly(model, longest)


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
