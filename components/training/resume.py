"""The state of a `Trainer` to and from a checkpoint: a resumed run continues bit for bit."""

import hashlib
from dataclasses import asdict
from typing import Any

import torch

from components.contracts.artefacts import Artefact
from components.training.loop import Progress, Trainer
from components.training.settings import TrainingSettings


def fingerprint(settings: TrainingSettings, *inputs: Artefact) -> str:
    """Return a digest of what a run is made from: a checkpoint fits only the same one."""
    parts = [settings.model_dump_json(), *(artefact.digest for artefact in inputs)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def state_of(trainer: Trainer, mark: str) -> dict[str, Any]:
    """Return adapter, optimiser, random state and progress as one dict of tensors and numbers."""
    progress = asdict(trainer.progress)
    return {
        "fingerprint": mark,
        "adapter": {name: p.detach().clone() for name, p in trainer.trainable.items()},
        "optimizer": trainer.optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "progress": progress,
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put `trainer` into the state that `state_of` returned."""
    with torch.no_grad():
        for name, parameter in trainer.trainable.items():
            parameter.copy_(state["adapter"][name])
    trainer.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"]:
        torch.cuda.set_rng_state_all(state["random_cuda"])
    trainer.progress = Progress(**state["progress"])
