"""Entry points of the processes that tests start in groups (spawned: they must be importable)."""

import json
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import many
from components.training import train as training
from components.training.settings import TrainingSettings


@dataclass(frozen=True)
class Fault:
    """What happens to process `rank` at step `step`: see `injected`."""

    kind: str
    rank: int = 1
    step: int = 3


@dataclass(frozen=True)
class Job:
    base: Path
    tokens: Path
    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None


def work(job: Job) -> dict[str, Any]:
    """Train as one of a group that torch's launcher started; return what was heard and made."""
    torch.set_num_threads(1)
    heard = Heard()
    scratch = job.folder / "scratch"
    scratch.mkdir(exist_ok=True, parents=True)
    context = Context(job.folder, scratch, heard)
    if job.fault is not None:
        right = training.prepare
        training.prepare = lambda *args: injected(right(*args), job.fault)
    settings = TrainingSettings(**job.changes)
    base, tokens = BaseModelFolder.open(job.base), Tokens.open(job.tokens)
    made = training.train(base, tokens, settings, out=job.folder / "adapter", context=context)
    return {
        "curve": heard.curve,
        "notes": heard.notes,
        "progress": len(heard.marks),
        "facts": made.facts,
    }


def injected(trainer: Any, fault: Any) -> Any:
    """Return `trainer` with a fault in one process, whose number is told by accelerate."""
    from accelerate import PartialState

    if PartialState().process_index != fault.rank:
        return trainer
    right, collate, rows = trainer.loss, trainer.collate, [0]

    def counted(batch: Any) -> Any:
        rows[0] = len(batch)
        return collate(batch)

    def loss(model: Any, inputs: Any) -> Any:
        value = right(model, inputs)
        if trainer.progress.step + 1 != fault.step or not model.training:
            return value
        if fault.kind == "nan":
            return value * float("nan")
        if fault.kind == "memory" and rows[0] > 2:
            raise torch.OutOfMemoryError
        if fault.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        return value

    trainer.collate, trainer.loss = counted, loss
    return trainer


def launched(job: Job, count: int = 2) -> dict[int, dict[str, Any]]:
    """Run `work` in `count` processes as `torchrun` does; return what each gave."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        run_id=f"test-{os.getpid()}-{job.folder.name}",
        shutdown_timeout=5,
    )
    with many.signals_kept():
        found: dict[int, dict[str, Any]] = elastic_launch(config, work)(job)
    return found
