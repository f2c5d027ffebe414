"""What is computed once before the first step and must be the same after a crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contracts.events import Context
from components.training.checkpoint import load_checkpoint, save_checkpoint


def once(context: Context, name: str, mark: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` (tensors, numbers, text), or what it gave an earlier attempt at this run.

    `mark` is the run's fingerprint. Weights move on while a run is trained: after a crash the same
    could not be computed from a restored checkpoint.
    """
    file = _file(context, name)
    if kept := load_checkpoint(file, mark):
        return kept["value"]
    value = compute()
    save_checkpoint(file, {"fingerprint": mark, "value": value})
    return value


def forget(context: Context) -> None:
    """Delete what was kept: the run is over."""
    for file in (context.scratch / "train").glob("once-*.pt"):
        file.unlink()


def _file(context: Context, name: str) -> Path:
    return context.scratch / "train" / f"once-{name}.pt"
