"""A few steps of a recipe with its own model, rows and batches, written down step by step."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.contracts.events import Context, Silent
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from components.training.collate import Inputs
    from components.training.loop import Trainer
    from components.training.rows import Batch

SCORED_BATCHES = 2
"""Validation batches looked at: what is checked is that evaluating disturbs nothing."""

FEWEST = 4
"""Steps that leave room for two interruptions."""


@dataclass(frozen=True)
class Step:
    """What happened in one step: SHA-256 of its batches, and its loss in nats a trained token.

    `loss` is `None` where the step was skipped.
    """

    number: int
    epoch: int
    batches: str
    loss: float | None


@dataclass(frozen=True)
class Run:
    """The steps of a run, SHA-256 of each adapter tensor to keep, and the validation losses."""

    steps: list[Step]
    tensors: dict[str, str]
    validation: list[float]


@dataclass(frozen=True)
class Rehearsal:
    """Makes the same trainer of `steps` steps again and again."""

    base: BaseModelFolder
    tokens: Tokens
    settings: TrainingSettings
    steps: int
    context: Context

    def trainer(self) -> "tuple[Trainer, list[int]]":
        """Return a new trainer at step 0, and the epoch of each of its steps."""
        from components.training.train import prepare

        short = shortened(self.settings, self.steps)
        quiet = replace(self.context, events=Silent())
        trainer = prepare(self.base, self.tokens, short, quiet)
        trainer.plan, epochs = first_steps(self.settings, trainer.rows, self.steps)
        trainer.validation_plan = trainer.validation_plan[:SCORED_BATCHES]
        return trainer, epochs


def shortened(settings: TrainingSettings, steps: int) -> TrainingSettings:
    """Return the settings with evaluations pressed into `steps` steps, and no early end."""
    if steps < FEWEST:
        raise ModelError(
            f"--steps {steps} leaves no room to interrupt", fix=f"use {FEWEST} or more"
        )
    every = {"eval_steps": max(1, steps // 3)} if settings.eval_steps else {}
    return settings.model_copy(update={**every, "early_stopping_patience": None})


def first_steps(
    settings: TrainingSettings, rows: Any, steps: int
) -> "tuple[list[list[Batch]], list[int]]":
    """Return the plan to rehearse and the epoch of each step.

    Half of the steps are the first of epoch 1, half the first of epoch 2 where there is one.

    Raises:
        ModelError: the recipe has fewer steps than asked for.
    """
    from components.training.train import plan_steps

    one = plan_steps(settings.model_copy(update={"num_train_epochs": 1.0}), rows.lengths)
    begin = one[: (steps + 1) // 2] if settings.num_train_epochs > 1 else one[:steps]
    rest: list[list[Batch]] = []
    if settings.num_train_epochs > 1:
        two = plan_steps(settings.model_copy(update={"num_train_epochs": 2.0}), rows.lengths)
        rest = two[len(one) :][: steps - len(begin)]
    found = len(begin) + len(rest)
    if found < steps:
        raise ModelError(
            f"{found} steps of this recipe can be rehearsed, not {steps}",
            fix=f"use --steps {found}" if found >= FEWEST else "train on more rows",
        )
    return begin + rest, [1] * len(begin) + [2] * len(rest)


@dataclass
class Recorder:
    """Writes down what goes through the trainers of one run, one after the other."""

    hashes: dict[int, Any] = field(default_factory=dict)

    def listen(self, trainer: "Trainer") -> None:
        """Hash every training batch that `trainer` collates from now on.

        Steps that an earlier trainer took after the checkpoint are taken again, so forgotten.
        """
        done, collate = trainer.progress.step, trainer.collate
        self.hashes = {at: digest for at, digest in self.hashes.items() if at <= done}

        def hashed(rows: Any) -> "Inputs":
            inputs = collate(rows)
            if trainer.model.training:
                digest = self.hashes.setdefault(trainer.progress.step + 1, hashlib.sha256())
                for tensor in (*tensors_in(inputs.arguments), inputs.labels):
                    digest.update(bytes_of(tensor))
            return inputs

        trainer.collate = hashed

    def run(self, trainer: "Trainer", epochs: list[int]) -> Run:
        """Return what has been written down, and the adapter that `trainer` would keep."""
        curve = trainer.progress.curve
        trainer.settle()
        return Run(
            steps=[
                Step(at, epochs[at - 1], self.hashes[at].hexdigest(), point.get("loss"))
                for at, point in enumerate(curve, start=1)
            ],
            tensors={
                name: hashlib.sha256(bytes_of(tensor)).hexdigest()
                for name, tensor in trainer.trainable.items()
            },
            validation=[point["eval_loss"] for point in curve if "eval_loss" in point],
        )


def tensors_in(arguments: dict[str, Any]) -> "Iterable[torch.Tensor]":
    """Yield the tensors that a forward is given, in order of their names, also inside objects."""
    import torch

    for name in sorted(arguments):
        value = arguments[name]
        parts = [value] if isinstance(value, torch.Tensor) else vars(value).values()
        yield from (part for part in parts if isinstance(part, torch.Tensor))


def bytes_of(tensor: "torch.Tensor") -> bytes:
    """Return shape, type and content of a tensor as bytes."""
    import torch

    flat = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8)
    return f"{tuple(tensor.shape)}{tensor.dtype}".encode() + flat.numpy().tobytes()
