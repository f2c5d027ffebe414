"""The champion as a tick sees it: how old it is and what rows it was made from."""

import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.recipe import Recipe
from flows.retrain_inputs import Inputs, inputs_locked

DAY_MS = 86_400_000


class Known(BaseModel):
    """A version of the registry. `inputs` and `dataset` (DVC's hash) are None where its run kept
    no lock, as with a version that another tool has made. `adapter` is DVC's hash of its adapter,
    `base` that of the model it was put on.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    run: str | None
    made_ms: int
    inputs: Inputs | None
    dataset: str | None
    adapter: str | None
    base: str | None

    @property
    def age_days(self) -> float:
        return max(0.0, (time.time() * 1000 - self.made_ms) / DAY_MS)


def champion_now(settings: Recipe, before: Known | None) -> Known | None:
    """Return the champion of a recipe's model; None without one.

    What a version was made from never changes: if `before` is that version, nothing is read again.
    """
    from flows.store import champion_version

    version = champion_version(settings.registry.name)
    if version is None:
        return None
    made = int(version.creation_timestamp)
    if before and (before.version, before.made_ms) == (str(version.version), made):
        return before
    return _read(version, made, settings)


def _read(version: Any, made: int, settings: Recipe) -> Known:
    from flows.registry_bundle import LOCK, read_bundle

    tags = dict(version.tags)
    lock = read_bundle(version.run_id).get(LOCK) if version.run_id else None
    stages = (lock or {}).get("stages", {})
    return Known(
        version=str(version.version),
        run=version.run_id or None,
        made_ms=made,
        inputs=inputs_locked(stages, tags.get("recipe", ""), settings),
        **{noun: tags.get(f"dvc.{noun}") for noun in ("dataset", "adapter", "base")},
    )
