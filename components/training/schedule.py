"""The learning rate of a step, as a pure function of the step."""

import math

from components.training.settings import TrainingSettings


def warmup_length(settings: TrainingSettings, total: int) -> int:
    """Return the number of warm-up steps; below 1 the setting is a share of `total`."""
    steps = settings.warmup_steps
    return math.ceil(steps * total) if steps < 1 else int(steps)


def learning_rate(settings: TrainingSettings, step: int, total: int) -> float:
    """Return the learning rate of step `step` (1 … `total`)."""
    warmup = warmup_length(settings, total)
    if step <= warmup:
        return settings.learning_rate * step / warmup
    if settings.lr_scheduler_type == "constant":
        return settings.learning_rate
    progress = (step - 1 - warmup) / max(1, total - warmup)
    if settings.lr_scheduler_type == "cosine":
        progress = 0.5 * (1 - math.cos(math.pi * progress))
    return settings.learning_rate * (1 - (1 - settings.min_lr_ratio) * progress)
