"""A trainer that learns from a teacher beside its labels."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from components.contracts.errors import ModelError
from components.contracts.events import tracked
from components.model.base import load_base
from components.model.full import bare
from components.model.merge import load_tokenizer
from components.model.shared_prefix import attends_plainly, use_shared_prefix_attention
from components.training.collate import pad, share_prefix
from components.training.distillation import (
    TaughtLoss,
    TaughtRow,
    TaughtRows,
    collate_taught,
    gathered,
)
from components.training.logits import trained_logits
from components.training.loop import Collate, Trainer
from components.training.mixed import in_precision
from components.training.objective_settings import DistillationSettings
from components.training.once import once
from components.training.rows import plan_epoch
from components.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.contracts.kinds import BaseModelFolder
    from components.training.rows import Row, Rows


@dataclass(frozen=True)
class Teacher:
    """The frozen teacher, and how rows are laid out for it."""

    model: Any
    collate: Collate
    fast: bool

    def logits(self, rows: "Sequence[Row]") -> tuple[torch.Tensor, torch.Tensor]:
        """Return `trained_logits` of a batch."""
        return trained_logits(self.model, self.collate(rows), fast=self.fast)


def learn_from_teacher(trainer: Trainer, run: Run, settings: DistillationSettings) -> None:
    """Mix the teacher's logits into the loss of `trainer`.

    Raises:
        ModelError: the teacher cannot be loaded or has another vocabulary.
    """
    check_vocabulary(run.base)
    load = partial(load_teacher, trainer, run.base)
    loss = TaughtLoss(settings, trainer.loss, fast=trainer.settings.fast)
    before = once(run.context, "before", run.mark, partial(measure, trainer, load))
    if settings.top_k is None:
        teacher = load()
        if lies_flat(trainer.collate) and not lies_flat(teacher.collate):
            bare(trainer.model).set_attn_implementation("sdpa")
            trainer.collate = teacher.collate
        loss.teacher = teacher.model
    else:
        said = once(run.context, "teacher", run.mark, partial(ask, trainer, load, run, settings))
        arrays = (said[name].numpy() for name in ("ids", "logprobs", "starts"))
        trainer.rows = TaughtRows(trainer.rows, *arrays)
        trainer.collate = partial(collate_either, collate=trainer.collate)
    trainer.loss, trainer.measured = in_precision(trainer, loss), loss.measured
    facts = {**settings.model_dump(), "teacher": run.base.facts["teacher"]["title"], **before}
    trainer.about.append(lambda: {"distillation": facts})


def check_vocabulary(base: "BaseModelFolder") -> None:
    """Raise `ModelError` unless every id means the same token to teacher and student."""
    ours, theirs = (load_tokenizer(folder).get_vocab() for folder in (base.model, base.teacher))
    if ours == theirs:
        return
    other = sorted(token for token, index in ours.items() if theirs.get(token) != index)
    other = other or sorted(set(theirs) - set(ours))
    raise ModelError(
        f"the teacher {base.facts['teacher']['title']} has another vocabulary: {len(other):,} of "
        f"{len(ours):,} tokens have another id there or none (such as {other[0]!r})",
        fix="name a model of the same family under model.teacher",
    )


def load_teacher(trainer: Trainer, base: "BaseModelFolder") -> Teacher:
    """Return the frozen teacher, on the student's device, in its dtype and, if it can, its layout.

    Raises:
        ModelError: it cannot be loaded, or gives another number of logits.
    """
    student = bare(trainer.model)
    model = load_base(base.teacher, dtype=student.dtype, device=student.device)
    if width(model) != width(student):
        raise ModelError(
            f"the teacher gives {width(model)} logits, the student {width(student)}",
            fix="name a model of the same family under model.teacher",
        )
    model.eval().requires_grad_(False)
    collate = trainer.collate
    if lies_flat(collate):
        if attends_plainly(model, max(len(row.input_ids) for row in trainer.rows)):
            use_shared_prefix_attention(model)
        else:
            collate = partial(pad, device=student.device)
    return Teacher(model, collate, trainer.settings.fast)


def width(model: Any) -> int:
    """Return the number of logits a position has."""
    return int(model.get_output_embeddings().weight.shape[0])


def lies_flat(collate: Any) -> bool:
    """Say whether batches are laid out flat, behind what their rows share."""
    return getattr(collate, "func", None) is share_prefix


@torch.no_grad()
def measure(trainer: Trainer, load: Any) -> dict[str, float]:
    """Return what the student starts from and what the teacher reaches on the validation rows.

    Both are the loss of the labels in nats a trained token.
    """
    if not trainer.validation:
        return {}
    teacher = load()
    student_loss = trainer.validation_loss()
    total, count = 0.0, 0
    for batch in trainer.validation_plan:
        logits, targets = teacher.logits([trainer.validation[i] for i in batch])
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        count += len(targets)
    return {"eval_loss_before": student_loss, "teacher_eval_loss": total / count}


@torch.no_grad()
def ask(
    trainer: Trainer, load: Any, run: Run, settings: DistillationSettings
) -> dict[str, torch.Tensor]:
    """Return what the teacher says at the trained positions of every row in the plan.

    `ids` [positions, k], `logprobs` [positions, k + 1], `starts` [rows + 1].
    """
    teacher, rows = load(), cast("Rows", trainer.rows)
    k = min(settings.top_k or 1, width(teacher.model) - 1)
    wanted = sorted({row for step in trainer.plan for batch in step for row in batch})
    counts = np.zeros(len(rows) + 1, np.int64)
    counts[np.array(wanted) + 1] = rows.trained[wanted]
    starts = np.cumsum(counts)
    ids = torch.empty(int(starts[-1]), k, dtype=torch.int32)
    logprobs = torch.empty(int(starts[-1]), k + 1)
    every = rows.lengths
    lengths = [every[row] for row in wanted]
    plan = plan_epoch(lengths, trainer.settings.per_device_train_batch_size, 0, 0)
    for batch in tracked(plan, run.context.events, "teacher", len(plan)):
        places = [wanted[i] for i in batch]
        logits, _ = teacher.logits([rows[place] for place in places])
        top, said = likeliest(logits / settings.temperature, k)
        sizes = [int(counts[place + 1]) for place in places]
        parts = zip(places, top.split(sizes), said.split(sizes), strict=True)
        for place, one_top, one_said in parts:
            stretch = slice(int(starts[place]), int(starts[place + 1]))
            ids[stretch], logprobs[stretch] = one_top.int().cpu(), one_said.cpu()
    return {"ids": ids, "logprobs": logprobs, "starts": torch.from_numpy(starts)}


def likeliest(soft: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k likeliest tokens [n, k], their log-probabilities and the rest's [n, k + 1]."""
    top = soft.topk(k, dim=-1).indices
    return top, gathered(soft, top, 1.0)


def collate_either(rows: "Sequence[Row]", collate: Collate) -> Any:
    """Lay out rows that the teacher has read, or rows of the validation, which it has not."""
    if all(isinstance(row, TaughtRow) for row in rows):
        return collate_taught(cast("Any", rows), collate)
    return collate(rows)
