"""Which objective a trainer pursues: what it learns from, by which loss, and what it tells."""

from functools import partial
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.once import mark_of
from components.training.run import Run

if TYPE_CHECKING:
    from components.training.loop import Trainer


def pursue(
    trainer: "Trainer", base: BaseModelFolder, tokens: Tokens, context: Context
) -> "Trainer":
    """Give a trainer at step 0 the objective that its settings ask for.

    A model without numbers (on the meta device) is only looked at: rows, plan and loss are set, but
    nothing is computed with it.

    Raises:
        DataError: the rows are not of the kind that the objective learns from.
        ModelError: a teacher is needed and there is none, or it has another vocabulary.
    """
    settings = trainer.settings
    start = partial(Run, base, tokens, context, mark_of(settings, base, tokens))
    if only_shapes(trainer.model):
        if settings.of_pairs:
            from components.training.learn_pairs import take_pairs

            take_pairs(trainer, tokens)
        return trainer
    if settings.pruning is not None:
        from components.training.recover_pruned import recover_pruned

        recover_pruned(trainer, start(), settings.pruning)
    if settings.of_pairs:
        from components.training.learn_pairs import learn_from_pairs

        learn_from_pairs(trainer, start())
    if settings.distillation is not None:
        from components.training.learn_teacher import learn_from_teacher

        if "teacher" not in base.facts:
            raise ModelError(
                "training.distillation needs a teacher, but the recipe names none",
                fix="name one under model.teacher, as `model` itself is named",
            )
        learn_from_teacher(trainer, start(), settings.distillation)
    return trainer


def only_shapes(model: Any) -> bool:
    """Say whether a model has no numbers to compute with."""
    return bool(next(iter(model.parameters())).is_meta)
