"""A made-up training for sweeps: no model, but the real signature, events and artefact."""

import math
import os
import signal
from pathlib import Path

from components.contracts.errors import DataError, ModelError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.training.settings import TrainingSettings

BEST_RATE, BEST_R = 1e-3, 16
STEPS = 5


def loss_at(learning_rate: float, lora_r: int) -> float:
    """Return the loss that a trial ends with: lowest at `BEST_RATE` and `BEST_R`."""
    far = math.log10(learning_rate / BEST_RATE) ** 2
    return 0.5 + far + abs(lora_r - BEST_R) / 32


def train(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    *,
    out: Path,
    context: Context,
) -> Adapter:
    """Lose a tenth a step; go on from the step in the scratch folder; do what `lora_r` says."""
    with (context.root / "calls.txt").open("a") as stream:
        stream.write(f"{settings.learning_rate} {settings.lora_r}\n")
    if settings.lora_r == 13:
        raise ModelError("training step 1 gave loss nan", fix="lower training.learning_rate")
    if settings.lora_r == 14:
        raise DataError("3 of 60 rows have no trained token")
    if settings.lora_r == 15:
        raise ValueError("nobody foresaw this")
    place = context.scratch / "step"
    begun = int(place.read_text()) if place.exists() else 0
    found = loss_at(settings.learning_rate, settings.lora_r)
    for step in range(begun + 1, STEPS + 1):
        loss = found + (STEPS - step) / 10
        context.events.metrics(step, {"loss": loss, "eval_loss": loss})
        kill = context.root / "kill"
        if step == 2 and settings.lora_r == 8 and kill.exists():
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        place.write_text(str(step))
    with Adapter.write(out) as draft:
        draft.facts = {"best_eval_loss": found, "begun": begun}
    return Adapter.open(out)
