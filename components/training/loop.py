"""The training loop: forward, backward, step, evaluate, checkpoint, stop.

What to do about faults stands apart: `guard` (losses that are not finite), `out_of_memory`,
`keeper` and `checkpoint` (a machine that goes away).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from components.contracts.events import Events
from components.training import averaging, guard, memory, out_of_memory
from components.training.collate import Inputs
from components.training.group import ALONE, Group
from components.training.rows import Batch, Row
from components.training.schedule import learning_rate
from components.training.settings import TrainingSettings

Collate = Callable[[Sequence[Row]], Inputs]
Loss = Callable[[Any, Inputs], torch.Tensor]


@dataclass
class Progress:
    """All that a run needs to go on, besides weights, optimiser and random state."""

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    bad_evaluations: int = 0
    stopped_early: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] | None = None
    average: dict[str, torch.Tensor] | None = None
    averaged: int = 0
    skipped: int = 0
    out_of_memory: int = 0
    most_tokens: int | None = None


@dataclass
class Trainer:
    """A model under training and what it is trained with.

    `save` is called after each step but the last and decides whether to write a checkpoint.
    """

    model: Any
    loss: Loss
    collate: Collate
    rows: Sequence[Row]
    validation: Sequence[Row]
    plan: list[list[Batch]]
    validation_plan: list[Batch]
    settings: TrainingSettings
    events: Events
    save: Callable[["Trainer"], None]
    progress: Progress = field(default_factory=Progress)
    measured: Callable[[], dict[str, float]] = dict
    """What the loss has to tell besides itself, since it was last asked."""
    about: list[Callable[[], dict[str, Any]]] = field(default_factory=list)
    """What the objective adds to the facts of the run once it is over."""
    group: Group = ALONE
    """The processes that train together, if there are several."""

    def __post_init__(self) -> None:
        s = self.settings
        self.trainable = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trainable.values(),
            lr=s.learning_rate,
            betas=(s.adam_beta1, s.adam_beta2),
            eps=s.adam_epsilon,
            weight_decay=s.weight_decay,
            fused=self.model.device.type != "meta",  # where only shapes are looked at
        )

    def run(self) -> Progress:
        """Train from where `progress` stands to the end of the plan, or until patience is out."""
        self.model.train()
        while self.progress.step < len(self.plan) and not self.progress.stopped_early:
            self.step(self.progress.step + 1)
            self.events.progress("train", self.progress.step, len(self.plan))
            last = self.progress.step == len(self.plan)
            if self.due(self.settings.eval_steps) or (last and self.settings.eval_steps):
                self.evaluate()
            if not last:
                self.save(self)
        return self.progress

    def step(self, number: int) -> None:
        """Take optimiser step `number`: token-weighted over all its micro-batches."""
        started = time.perf_counter()
        batches: list[Sequence[Row]] = [
            [self.rows[i] for i in batch] for batch in self.group.share(self.plan[number - 1])
        ]
        own = sum(row.trained for batch in batches for row in batch)
        trained = self.group.total(own)
        total, tokens = self.gradients(number, batches, trained)
        norm = torch.nn.utils.clip_grad_norm_(
            self.trainable.values(), self.settings.max_grad_norm, error_if_nonfinite=False
        )
        rate = learning_rate(self.settings, number, len(self.plan))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, length = float(total), float(norm)
        good = guard.may_step(self.settings, number, loss, length, self.progress.skipped)
        if good:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step = number
        if self.model.device.type == "cpu" and self.due(memory.EVERY):
            memory.give_back()
        told = self.group.mean(self.measured(), own)
        if not good:
            self.skip(tokens)
            return
        self.average()
        values = {"loss": loss / trained, "learning_rate": rate, "grad_norm": length, **told}
        self.progress.curve.append({"step": number, **values, "tokens": tokens})
        seconds = time.perf_counter() - started
        self.events.metrics(number, {**values, "tokens_per_second": tokens / seconds})

    def skip(self, tokens: int) -> None:
        """Note that this step left the weights as they were."""
        state = self.progress
        state.skipped += 1
        state.curve.append({"step": state.step, "tokens": tokens})
        self.events.metrics(state.step, {"skipped_steps": state.skipped})
        self.events.note(f"step {state.step}: loss or gradient not finite, step skipped")

    def gradients(
        self, number: int, batches: list[Sequence[Row]], trained: int
    ) -> tuple[torch.Tensor, int]:
        """Add up the gradients of a step; return summed loss and tokens, of all processes."""
        state = self.progress
        before = state.most_tokens
        attempt = partial(self.backward, trained=trained)
        if not self.settings.auto_find_batch_size:
            total, tokens = out_of_memory.once(attempt, batches, number)
        else:
            (total, tokens), most = out_of_memory.halving(attempt, batches, before, self.let_go)
            state.most_tokens = self.group.least(most)
        if state.most_tokens != before:
            state.out_of_memory += 1
            self.events.metrics(number, {"out_of_memory": state.out_of_memory})
            self.events.note(
                f"step {number}: out of memory; taken again with micro-batches of at most "
                f"{state.most_tokens} tokens, as all from here on"
            )
        return self.group.sum_up(self.trainable.values(), total), self.group.total(tokens)

    def backward(self, batches: Sequence[Sequence[Row]], trained: int) -> tuple[torch.Tensor, int]:
        """Run all micro-batches forward and backward; return the summed loss and the tokens."""
        total, tokens = torch.zeros(()), 0
        for place, batch in enumerate(batches, start=1):
            self.group.exchange(after=place == len(batches))
            inputs = self.collate(batch)
            loss = self.loss(self.model, inputs)
            (loss / trained).backward()
            total, tokens = loss.detach() + total.to(loss.device), tokens + inputs.tokens
        return total, tokens

    def let_go(self) -> None:
        """Drop all that a failed step left behind."""
        self.optimizer.zero_grad(set_to_none=True)
        self.measured()
        out_of_memory.give_back(self.model)

    def due(self, every: int | None) -> bool:
        return bool(every) and self.progress.step % (every or 1) == 0

    def average(self) -> None:
        """Take the weights after this step into their mean, if it is one of the last steps."""
        state, share = self.progress, self.settings.average_last
        if state.step > len(self.plan) * (1 - share):
            state.average = averaging.add(state.average, state.averaged, self.trainable)
            state.averaged += 1

    @torch.no_grad()
    def evaluate(self) -> None:
        """Measure the validation loss (nats a trained token) and judge it.

        Once weights are averaged, their mean is measured: it is what would be kept.
        """
        if not self.validation:
            return
        with averaging.put_in(self.trainable, self.progress.average):
            self.judge(self.validation_loss())

    def validation_loss(self) -> float:
        """Return the loss of the validation rows in nats a trained token."""
        self.model.eval()
        losses, trained = [], 0
        for batch in self.group.share(self.validation_plan):
            rows = [self.validation[i] for i in batch]
            losses.append(self.loss(self.model, self.collate(rows)))
            trained += sum(row.trained for row in rows)
        self.model.train()
        total = sum(map(float, losses))  # only here: a number on a GPU waits for all before it
        return self.group.total(total) / self.group.total(trained)

    def judge(self, loss: float) -> None:
        """Note a validation loss: the best adapter is kept, and patience counted."""
        state = self.progress
        own = sum(len(batch) for batch in self.group.share(self.validation_plan))
        told = self.group.mean(self.measured(), own)
        values = {"eval_loss": loss} | {f"eval_{k}": v for k, v in told.items()}
        state.curve[-1] |= values
        self.events.metrics(state.step, values)
        self.events.note(f"step {state.step}: validation loss {loss:.4f}")
        if loss < state.best_loss - self.settings.early_stopping_threshold:
            state.best_loss, state.best_step, state.bad_evaluations = loss, state.step, 0
            state.best = {name: p.detach().clone() for name, p in self.trainable.items()}
            return
        state.bad_evaluations += 1
        patience = self.settings.early_stopping_patience
        state.stopped_early = patience is not None and state.bad_evaluations >= patience

    def settle(self) -> None:
        """Put in the adapter to keep: of those measured the best, else the mean, else the last."""
        keep = self.progress.best or self.progress.average
        if keep is not None:
            averaging.copy(self.trainable, keep)
