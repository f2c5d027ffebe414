"""What the processes of a group run in tests (spawned, so it must be importable)."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import many
from components.training import train as training
from components.training.group import Group
from components.training.settings import TrainingSettings
from components.training.sharded import Sharded


class CutOffError(Exception):
    """Ends a run in the middle, in all processes at once."""


@dataclass(frozen=True)
class Job:
    """A training, and what happens in process `rank` at step `step` (`fault`), or in all."""

    name: str
    base: Path
    tokens: Path
    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    rank: int = 1
    step: int = 3


def launched(jobs: Sequence[Job], count: int = 2) -> dict[int, dict[str, Any]]:
    """Run `work` in `count` processes, started as `torchrun` starts them; return what each gave."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        run_id=f"test-{os.getpid()}",
        shutdown_timeout=5,
    )
    with many.signals_kept():
        found: dict[int, dict[str, Any]] = elastic_launch(config, work)(jobs)
    return found


def work(jobs: Sequence[Job]) -> dict[str, Any]:
    """Take part in each job in turn; return what this process heard and made, by name."""
    settings = [TrainingSettings(**job.changes) for job in jobs]
    found = {}
    assert many.in_group()
    with many.member(settings[0].model_copy(update={"fsdp": False})) as group:
        torch.set_num_threads(1)
        for job, chosen in zip(jobs, settings, strict=True):
            kind = Sharded if chosen.fsdp else Group
            found[job.name] = one(kind(group.rank, group.size), job, chosen)
    return found


def one(group: Group, job: Job, settings: TrainingSettings) -> dict[str, Any]:
    """Take part in one training; it is taken up again after a cut."""
    heard = Heard()
    scratch = job.folder / f"{job.name}-scratch"
    scratch.mkdir(exist_ok=True, parents=True)
    context = many.own_context(Context(job.folder, scratch, heard), group)
    right = training.prepare
    inputs = BaseModelFolder.open(job.base), Tokens.open(job.tokens), settings
    out = job.folder / job.name
    try:
        training.prepare = lambda *args: faulty(right(*args), group, job)
        with suppress(CutOffError):
            training.train_together(group, *inputs, out=out, context=context)
        if job.fault == "cut":
            training.prepare = right
            context = many.own_context(Context(job.folder, scratch, heard), group)
            training.train_together(group, *inputs, out=out, context=context)
    finally:
        training.prepare = right
    return {
        "losses": [values["loss"] for _, values in heard.curve if "loss" in values],
        "told": [values for _, values in heard.curve],
        "notes": heard.notes,
        "marks": len(heard.marks),
    }


def faulty(trainer: Any, group: Group, job: Job) -> Any:
    """Return `trainer` with the fault of the job in it."""
    if not job.fault or (job.fault != "cut" and group.rank != job.rank):
        return trainer
    right, collate, rows = trainer.loss, trainer.collate, [0]

    def counted(batch: Any) -> Any:
        rows[0] = len(batch)
        return collate(batch)

    def loss(model: Any, inputs: Any) -> Any:
        value = right(model, inputs)
        if trainer.progress.step + 1 != job.step or not torch.is_grad_enabled():
            return value
        return FAULTS[job.fault](value, rows[0])

    trainer.collate, trainer.loss = counted, loss
    return trainer


def not_a_number(value: Any, _: int) -> Any:
    return value * float("nan")


def no_memory(value: Any, rows: int) -> Any:
    if rows > 2:
        value.backward()  # what a failed step leaves behind must not be counted
        raise torch.OutOfMemoryError
    return value


def cut(*_: Any) -> Any:
    raise CutOffError


def killed(*_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def asked(value: Any, _: int) -> Any:
    os.kill(os.getpid(), signal.SIGTERM)
    return value


FAULTS = {
    "nan": not_a_number,
    "memory": no_memory,
    "cut": cut,
    "killed": killed,
    "asked": asked,
}
