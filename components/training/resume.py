"""The state of a `Trainer` to and from a checkpoint: a resumed run continues bit for bit."""

import hashlib
import json
from dataclasses import fields
from typing import Any

import torch

from components.contracts.artefacts import Artefact
from components.training.loop import Progress, Trainer
from components.training.random_state import put_back, random_state
from components.training.rows import Batch
from components.training.settings import TrainingSettings

FORMAT = 2
"""Of what `state_of` returns: a checkpoint of another one is not resumed."""

NO_EFFECT = {"save_steps", "save_minutes", "save_total_limit", "resume_from_checkpoint"}
"""Settings that may change between a run and its going on: they change no weight."""


def fingerprint(settings: TrainingSettings, plan: list[list[Batch]], *inputs: Artefact) -> str:
    """Return a digest of what a run is made from: a checkpoint fits only the same one.

    `plan` is in it because a place in the data is a step of the plan.
    """
    parts = [
        str(FORMAT),
        settings.model_dump_json(exclude=NO_EFFECT),
        hashlib.sha256(json.dumps(plan).encode()).hexdigest(),
        *(artefact.digest for artefact in inputs),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def state_of(trainer: Trainer, mark: str) -> dict[str, Any]:
    """Return adapter, optimiser, random state and progress as one dict of tensors and numbers.

    Nothing is copied: write it down before the next step.
    """
    progress = trainer.progress
    return {
        "fingerprint": mark,
        "adapter": {name: p.detach() for name, p in trainer.trainable.items()},
        "optimizer": trainer.optimizer.state_dict(),
        **random_state(),
        "progress": {field.name: getattr(progress, field.name) for field in fields(progress)},
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put `trainer` into the state that `state_of` returned."""
    with torch.no_grad():
        for name, parameter in trainer.trainable.items():
            parameter.copy_(state["adapter"][name])
    trainer.optimizer.load_state_dict(state["optimizer"])
    put_back(state)
    trainer.progress = Progress(**state["progress"])
