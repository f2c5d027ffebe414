"""What is computed once before the first step and must be the same after a crash."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contracts.artefacts import Artefact
from components.contracts.errors import SpaceError
from components.contracts.events import Context
from components.contracts.settings import Settings

NO_SPACE = 28


def mark_of(settings: Settings, *inputs: Artefact) -> str:
    """Return a digest of what a run is made from: what was kept fits only the same one."""
    parts = [settings.model_dump_json(), *(artefact.digest for artefact in inputs)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def once(context: Context, name: str, mark: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` (tensors, numbers, text), or what it gave an earlier attempt at this run.

    Weights move on while a run is trained: after a crash the same could not be computed from a
    restored checkpoint. `mark` is `mark_of` what the run is made from.

    Raises:
        SpaceError: the disk is full.
    """
    import torch

    file = context.scratch / "train" / f"once-{name}.pt"
    if file.is_file():
        kept: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if kept["mark"] == mark:
            return kept["value"]
    value = compute()
    _write(file, {"mark": mark, "value": value})
    return value


def _write(file: Path, kept: dict[str, Any]) -> None:
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".tmp")
    try:
        torch.save(kept, unfinished)
        unfinished.replace(file)
    except (OSError, RuntimeError) as error:
        unfinished.unlink(missing_ok=True)
        if getattr(error, "errno", None) == NO_SPACE or "No space left" in str(error):
            raise SpaceError(
                f"no room left on the disk for {file}",
                fix="free some space and run again",
            ) from error
        raise
