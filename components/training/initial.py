"""The adapter that a training goes on from, where the recipe names one."""

from pathlib import Path

from components.contracts.artefacts import sha256
from components.contracts.events import Context
from components.contracts.kinds import Adapter
from components.model.initial import CONFIG, WEIGHTS, go_on_from, read_config
from components.training.loop import Trainer
from components.training.settings import TrainingSettings


def initial_folder(settings: TrainingSettings, context: Context) -> Path | None:
    """Return the folder of `adapter_name_or_path`; None where training begins afresh."""
    named = settings.adapter_name_or_path
    return None if named is None else context.root / named


def initial_adapter(settings: TrainingSettings, context: Context) -> list[Adapter]:
    """Return the adapter to go on from as an artefact, so that its bytes count in a fingerprint.

    Raises `ModelError` unless the folder is whole.
    """
    folder = initial_folder(settings, context)
    if folder is None:
        return []
    read_config(folder)
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in (CONFIG, WEIGHTS)
    }
    return [Adapter(folder, {}, files)]


def begin(trainer: Trainer, settings: TrainingSettings, context: Context) -> None:
    """Give a trainer at step 0 the weights to go on from, and the name of them among its facts."""
    found = initial_adapter(settings, context)
    if not found:
        return
    (adapter,) = found
    go_on_from(trainer.model, adapter.path, settings)
    digest = adapter.files[WEIGHTS]["sha256"]
    trainer.about.append(lambda: {"initial_adapter_sha256": digest})
    context.events.note(f"going on from the adapter in {settings.adapter_name_or_path}")
