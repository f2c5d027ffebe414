"""A trainer that learns from pairs of answers, against the model as it was before training."""

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from components.contracts.events import Context, tracked
from components.contracts.kinds import Tokens
from components.model.full import bare
from components.model.shared_prefix import attends_plainly
from components.training.collate import pad, share_prefix
from components.training.loop import Collate, Trainer
from components.training.mixed import in_precision
from components.training.once import once
from components.training.pairs import Pairs, collate_pairs, read_pairs
from components.training.preference_loss import PairLoss, answer_logprobs
from components.training.rows import plan_epoch
from components.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.training.rows import Row


def learn_from_pairs(trainer: Trainer, run: Run) -> None:
    """Make `trainer` learn from pairs; the model as it is now becomes the reference."""
    for split, pairs in take_pairs(trainer, run.tokens).items():
        compute = partial(reference_logprobs, trainer, pairs, run.context, split)
        pairs.reference = once(run.context, f"reference-{split}", run.mark, compute).numpy()


def take_pairs(trainer: Trainer, tokens: Tokens) -> dict[str, Pairs]:
    """Give `trainer` the pairs, their plan and their loss; return them by split."""
    from components.training.train import on_base, plan_steps

    settings = trainer.settings
    pairs = read_pairs(tokens.split("train"))
    validation = read_pairs(tokens.split("validation"), settings.max_eval_samples)
    collate = layout_for(trainer, max(pairs.longest, validation.longest))
    loss = PairLoss(settings, fast=settings.fast)
    trainer.rows = cast("Sequence[Row]", pairs)
    trainer.validation = cast("Sequence[Row]", validation)
    trainer.plan = plan_steps(settings, pairs.lengths)
    size = settings.per_device_train_batch_size
    trainer.validation_plan = plan_epoch(validation.lengths, size, 0, 0)
    trainer.collate = cast("Collate", partial(collate_pairs, collate=collate))
    trainer.loss = partial(on_base, in_precision(trainer, loss))
    trainer.measured = loss.measured
    trainer.about.append(lambda: {"loss_type": settings.loss_type, "pairs": len(pairs)})
    return {"train": pairs, "validation": validation}


def layout_for(trainer: Trainer, longest: int) -> Collate:
    """Return how rows of up to `longest` tokens are laid out: padded where flat ones do not fit.

    The layout was chosen by the chosen answers; rejected ones may be longer than a model's window.
    """
    model = bare(trainer.model)
    chosen: Any = trainer.collate
    if getattr(chosen, "func", None) is not share_prefix or attends_plainly(model, longest):
        return trainer.collate
    model.set_attn_implementation("sdpa")
    return partial(pad, device=model.device)


@torch.no_grad()
def reference_logprobs(
    trainer: Trainer, pairs: Pairs, context: Context, split: str
) -> torch.Tensor:
    """Return the log-probabilities [pairs, 2] in nats of both answers before the first step.

    A fresh adapter adds nothing, so these are the base model's, without a second model in memory;
    that holds as well where an adapter takes its start out of the base's own weights.
    """
    model, settings = trainer.model, trainer.settings
    plan = plan_epoch(pairs.lengths, settings.per_device_train_batch_size, 0, 0)
    found = torch.empty(len(pairs), 2)
    logprobs_of = in_precision(trainer, partial(answer_logprobs, fast=settings.fast))
    model.eval()
    for batch in tracked(plan, context.events, f"reference {split}", len(plan)):
        inputs: Any = trainer.collate(cast("Sequence[Row]", [pairs[i] for i in batch]))
        found[list(batch)] = logprobs_of(bare(model), inputs).view(-1, 2).cpu()
    model.train()
    return found
