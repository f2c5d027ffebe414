"""How long a training will take, from a few of its steps."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.forecast import Forecast
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    from components.training.loop import Trainer


@dataclass(frozen=True)
class Probe:
    """Measured: tokens and seconds of each step, seconds to load and of one validation token."""

    tokens: list[int]
    seconds: list[float]
    load_seconds: float
    validation_seconds: float
    peak_bytes: int

    @property
    def tokens_per_second(self) -> float:
        return sum(self.tokens) / sum(self.seconds)


@dataclass(frozen=True)
class Duration:
    """Seconds of a whole run by what takes them."""

    loading: float
    training: float
    evaluating: float

    @property
    def seconds(self) -> float:
        return self.loading + self.training + self.evaluating


def probe(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    *,
    steps: int,
    context: Context,
) -> Probe:
    """Take one step to warm up and `steps` timed ones, of all lengths, with a throwaway adapter.

    The largest step is among them, so that memory running out shows here too.
    """
    from components.training.train import prepare

    started = time.perf_counter()
    trainer = prepare(base, tokens, settings, context)
    loaded = time.perf_counter() - started
    chosen = spread(trainer, steps)
    trainer.plan = [trainer.plan[chosen[0]], *(trainer.plan[at] for at in chosen)]
    trainer.model.train()
    seconds: list[float] = []
    for number in range(1, len(trainer.plan) + 1):
        started = time.perf_counter()
        trainer.step(number)
        seconds.append(time.perf_counter() - started)
        context.events.progress("probe", number, len(trainer.plan))
    counted = [int(point["tokens"]) for point in trainer.progress.curve]
    validation = validation_seconds(trainer)
    return Probe(counted[1:], seconds[1:], loaded, validation, peak_bytes(trainer))


def spread(trainer: "Trainer", count: int) -> list[int]:
    """Return steps of the plan from the shortest to the longest, evenly among their tokens."""
    sizes = [
        sum(len(trainer.rows[row].input_ids) for batch in step for row in batch)
        for step in trainer.plan
    ]
    order = sorted(range(len(sizes)), key=lambda at: sizes[at])
    last = len(order) - 1
    return [order[round(at * last / max(1, count - 1))] for at in range(count)]


def validation_seconds(trainer: "Trainer") -> float:
    """Return the seconds that a validation token takes, from one batch (0 without validation)."""
    import torch

    if not trainer.settings.eval_steps or not trainer.validation:
        return 0.0
    whole = trainer.validation_plan
    trainer.validation_plan = whole[:1]
    started = time.perf_counter()
    with torch.no_grad():
        trainer.validation_loss()
    seconds = time.perf_counter() - started
    trainer.validation_plan = whole
    return seconds / sum(len(trainer.validation[row].input_ids) for row in whole[0])


def peak_bytes(trainer: "Trainer") -> int:
    """Return the most bytes that were in use: tensors on CUDA, the resident size on CPU."""
    import resource

    import torch

    if trainer.model.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(trainer.model.device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def duration(measured: Probe, run: Forecast) -> Duration:
    """Return the time of a whole run.

    A step takes some seconds and some more a token: the line through the measured steps (least
    squares), held at no less than nothing for either. Several processes on devices of their own
    share the steps out between them, which were measured on one; what they tell each other in a
    step is not counted. On CPU they share the cores too, and win nothing.
    """
    fixed, a_token = line(measured.tokens, measured.seconds)
    side_by_side = 1 if run.device == "cpu" else run.processes
    return Duration(
        loading=measured.load_seconds,
        training=(fixed * run.steps + a_token * run.tokens) / side_by_side,
        evaluating=run.evaluations * run.validation_tokens * measured.validation_seconds,
    )


def line(xs: Sequence[int], ys: Sequence[float]) -> tuple[float, float]:
    """Return offset and slope of the least-squares line, neither below 0."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread_x = sum((x - mean_x) ** 2 for x in xs)
    covered = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    slope = covered / spread_x if spread_x else 0.0
    if slope <= 0:
        return mean_y, 0.0
    offset = mean_y - slope * mean_x
    return (offset, slope) if offset >= 0 else (0.0, sum(ys) / sum(xs))
