"""What to change in a recipe that does not fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.forecast import forecast
from components.training.settings import TrainingSettings

Offer = tuple[dict[str, Any], str]
"""A change of settings, and its price."""

SIZES = ("packing_length", "max_tokens_per_batch", "per_device_train_batch_size")


@dataclass(frozen=True)
class Change:
    """Other values of settings, what they cost, and the bytes that are needed with them."""

    settings: dict[str, Any]
    price: str
    needed: int


def changes(
    base: BaseModelFolder, tokens: Tokens, settings: TrainingSettings, runtime: int, room: int
) -> list[Change]:
    """Return changes of the settings that fit into `room` bytes, the mildest first.

    Of each kind the mildest that fits; if none does, all kinds at once.
    """

    def first_fit(kind: list[Offer]) -> Change | None:
        for update, price in kind:
            tried = settings.model_copy(update=update)
            needed = forecast(base, tokens, tried, runtime).needed
            if needed <= room:
                return Change(update, price, needed)
        return None

    kinds = [list(smaller_batches(settings)), *([way] for way in other_ways(settings))]
    together: dict[str, Any] = {}
    for kind in kinds:
        together |= kind[-1][0] if kind else {}
    last = [[(together, "the slowest")]]
    for offered in (kinds, last):
        found = [first for kind in offered if (first := first_fit(kind))]
        if found:
            return found
    return []


def smaller_batches(settings: TrainingSettings) -> Iterator[Offer]:
    """Yield the same steps in ever smaller micro-batches."""
    size = batch_setting(settings)
    now = int(getattr(settings, size))
    for divisor in (2, 4, 8, 16, 32):
        if now // divisor:
            times = settings.gradient_accumulation_steps * divisor
            change = {size: now // divisor, "gradient_accumulation_steps": times}
            yield change, "the same rows a step, somewhat slower"


def other_ways(settings: TrainingSettings) -> Iterator[Offer]:
    """Yield ways that change how the model is computed."""
    if settings.bf16 is False:
        yield {"bf16": True}, "half the bytes a number"
    if not settings.gradient_checkpointing:
        yield {"gradient_checkpointing": True}, "every forward pass is computed twice"


def batch_setting(settings: TrainingSettings) -> str:
    """Return the name of the setting that says how large a micro-batch is."""
    if settings.packing:
        return SIZES[0]
    return SIZES[1] if settings.max_tokens_per_batch else SIZES[2]
