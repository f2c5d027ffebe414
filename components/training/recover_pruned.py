"""A trainer whose base is pruned before the first step, and whose adapter makes up for it."""

from functools import partial
from typing import Any

import torch

from components.contracts.errors import ModelError
from components.model.full import bare
from components.model.pruning import keep_pruned, masks_of, shares
from components.model.pruning_settings import PruningSettings
from components.training.loop import Trainer
from components.training.masked_lora import mask_adapter
from components.training.once import once
from components.training.run import Run


def recover_pruned(trainer: Trainer, run: Run, settings: PruningSettings) -> None:
    """Prune the base of `trainer` and make its adapter learn within the masks.

    The facts of the run get the validation loss of the base, pruned, and recovered.

    Raises:
        ModelError: the model is adapted otherwise than by plain LoRA on a full-precision base.
    """
    check_adapter(trainer)
    model = bare(trainer.model)
    dense = once(run.context, "dense", run.mark, partial(validation_loss, trainer))
    masks = masks_of(run.base.model, settings)
    keep_pruned(model, masks)
    mask_adapter(model, masks)
    pruned = once(run.context, "pruned", run.mark, partial(validation_loss, trainer))
    gone = sum(int((~mask).sum()) for mask in masks.values())
    kinds = shares(masks)
    run.context.events.note(f"pruned {gone:,} weights: loss {words(dense)} → {words(pruned)}")

    def tell() -> dict[str, Any]:
        return {
            "pruning": {
                **settings.model_dump(),
                "zero_parameters": gone,
                "sparsity_by_layer": kinds,
                "eval_loss_base": dense,
                "eval_loss_pruned": pruned,
                "eval_loss_recovered": validation_loss(trainer),
            }
        }

    trainer.about.append(tell)


def check_adapter(trainer: Trainer) -> None:
    """Raise `ModelError` unless the base under the adapter is the base model itself."""
    settings = trainer.settings
    if settings.full or settings.wanted or settings.pissa or settings.torch_compile:
        raise ModelError(
            "training.pruning needs an adapter of the plain LoRA kind on the base in full "
            "precision, unchanged and not compiled",
            fix="leave finetuning_type, load_in_4bit, load_in_8bit, init_lora_weights and "
            "torch_compile alone",
        )


@torch.no_grad()
def validation_loss(trainer: Trainer) -> float | None:
    """Return the loss of the validation rows in nats a trained token, `None` without such rows."""
    return trainer.validation_loss() if trainer.validation else None


def words(loss: float | None) -> str:
    """Return a loss for people."""
    return "not measured" if loss is None else f"{loss:.4f}"
