"""The precision of a trainer's products, for losses that take the place of the plain one."""

from collections.abc import Callable
from typing import Any

from components.model.device import fast_dtype
from components.training.loop import Trainer
from components.training.precision import multiplied_in, precision


def in_precision(trainer: Trainer, loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return `loss` with its products as exact as the settings of `trainer` ask for."""
    device = trainer.model.device
    fastest = fast_dtype(device) if device.type != "meta" else trainer.model.dtype
    return multiplied_in(loss, trainer.settings, precision(trainer.settings, fastest))
