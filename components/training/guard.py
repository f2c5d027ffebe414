"""A loss or gradient that is not finite: stop, or leave that step out and count it."""

import math

from components.contracts.errors import ModelError
from components.training.settings import TrainingSettings

ADVICE = "lower training.learning_rate, or set training.bf16: false"


def may_step(
    settings: TrainingSettings, number: int, loss: float, norm: float, skipped: int
) -> bool:
    """Say whether step `number` may be taken; `skipped` steps were left out before it.

    Raises:
        ModelError: the loss or the gradient norm is not finite, and `on_nonfinite` is "stop" or
            `max_skipped_steps` are used up. The weights are not touched.
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return True
    found = f"training step {number} gave loss {loss} and gradient norm {norm}"
    if settings.on_nonfinite == "stop":
        raise ModelError(found, fix=f"{ADVICE}, or training.on_nonfinite: skip")
    if skipped >= settings.max_skipped_steps:
        raise ModelError(
            f"{found}, after {skipped} such steps were skipped (max_skipped_steps)", fix=ADVICE
        )
    return False


def need_a_step(steps: int, skipped: int) -> None:
    """Raise `ModelError` if every step was skipped: the adapter has learned nothing."""
    if steps == skipped:
        raise ModelError(f"all {steps} training steps were skipped as not finite", fix=ADVICE)
