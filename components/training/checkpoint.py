"""Checkpoints outside the artefact: written whole or not at all, and only taken up if they fit."""

import os
from pathlib import Path
from typing import Any

from components.contracts.errors import SpaceError

NO_SPACE = 28


def save_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `file`, flush it to the disk, then rename: a crash leaves the old one.

    Raises:
        SpaceError: the disk is full; the last checkpoint is still whole.
    """
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        if getattr(error, "errno", None) == NO_SPACE or "No space left" in str(error):
            raise SpaceError(
                f"no room left on the disk for the checkpoint {file}",
                fix="free some space and run again: training goes on from the last checkpoint",
            ) from error
        raise


def load_checkpoint(file: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the state in `file`, or `None` if there is none made from the same `fingerprint`.

    The fingerprint covers base, tokens and settings: a checkpoint of another run is never resumed.
    """
    import torch

    if not file.is_file():
        return None
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state if state["fingerprint"] == fingerprint else None
