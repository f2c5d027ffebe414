"""In which precision weights are kept, and in which they are multiplied."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch


def precision(settings: TrainingSettings, fastest: "torch.dtype") -> "torch.dtype":
    """Return the dtype of the frozen weights and the activations."""
    import torch

    if settings.bf16 is None:
        return fastest
    return torch.bfloat16 if settings.bf16 else torch.float32


def kept_in(settings: TrainingSettings, dtype: "torch.dtype") -> "torch.dtype":
    """Return the dtype that the weights are loaded in.

    Weights that are trained themselves are kept in fp32: a step of AdamW is mostly smaller than
    what bf16 can add to a weight, and would be lost.
    """
    import torch

    return torch.float32 if settings.full else dtype


def multiplied_in(
    loss: Callable[..., Any], settings: TrainingSettings, dtype: "torch.dtype"
) -> Callable[..., Any]:
    """Return `loss` with its products in `dtype`, where the weights are kept in another."""
    import torch

    if kept_in(settings, dtype) == dtype:
        return loss

    def mixed(model: Any, inputs: Any) -> Any:
        with torch.autocast(inputs.labels.device.type, dtype):
            return loss(model, inputs)

    return mixed
