"""What a tick has found and decided: one JSON file a recipe below .tuneline/retrain/."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.retraining.facts import Decision, Facts
from flows.environment import state_folder
from flows.retrain_champion import Known
from flows.retrain_inputs import Inputs


class Tick(BaseModel):
    """One tick. `marks` are what a listing said of unpinned rows (ETag, size) when they were read.

    `failures` counts fine-tunes on these inputs that failed. `mlflow_run_id` is the run that the
    decision is tagged on: the fine-tune's, else the champion's.
    """

    model_config = ConfigDict(extra="ignore")

    at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    decision: Decision
    facts: Facts
    inputs: Inputs
    champion: Known | None
    marks: dict[str, Any] = Field(default_factory=dict)
    failures: int = 0
    prefect_flow_run_id: str | None = None
    mlflow_run_id: str | None = None


def tick_file(root: Path, recipe: str) -> Path:
    return state_folder(root) / "retrain" / f"{recipe}.json"


def read_tick(root: Path, recipe: str) -> Tick | None:
    """Return the last tick; None before the first, or where another version wrote it."""
    file = tick_file(root, recipe)
    if not file.is_file():
        return None
    try:
        return Tick.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def write_tick(root: Path, recipe: str, tick: Tick) -> None:
    """Replace the file in one piece."""
    file = tick_file(root, recipe)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    beside.write_text(tick.model_dump_json(indent=2) + "\n", encoding="utf-8")
    beside.replace(file)


@contextmanager
def alone(root: Path, recipe: str) -> Iterator[bool]:
    """Give True, and keep other ticks of the recipe out of this working copy; False if one is in.

    The kernel lets go of the lock with its process, however that ends.
    """
    file = tick_file(root, recipe).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
