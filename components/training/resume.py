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

FORMAT = 3
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

    Nothing is copied: write it down before the next step. All processes of a group must ask.
    """
    progress, group = trainer.progress, trainer.group
    optimizer = trainer.optimizer.state_dict()
    told = {field.name: getattr(progress, field.name) for field in fields(progress)}
    weights = {name: told[name] and group.whole(told[name]) for name in ("best", "average")}
    return {
        "fingerprint": mark,
        "adapter": group.whole({name: p.detach() for name, p in trainer.trainable.items()}),
        "optimizer": {
            **optimizer,
            "state": {at: group.whole(state) for at, state in optimizer["state"].items()},
        },
        "random": group.gathered(random_state()),
        "progress": told | weights,
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put `trainer` into the state that `state_of` returned."""
    like, progress = trainer.group.like, dict(state["progress"])
    with torch.no_grad():
        for name, parameter in trainer.trainable.items():
            parameter.copy_(like(state["adapter"][name], parameter))
    moments = {
        at: {
            name: like(value, parameter) for name, value in state["optimizer"]["state"][at].items()
        }
        for at, parameter in enumerate(trainer.trainable.values())
        if at in state["optimizer"]["state"]
    }
    trainer.optimizer.load_state_dict(state["optimizer"] | {"state": moments})
    put_back(state["random"][trainer.group.rank])
    for kept in ("best", "average"):
        if progress[kept] is not None:
            progress[kept] = {n: like(v, trainer.trainable[n]) for n, v in progress[kept].items()}
    trainer.progress = Progress(**progress)
