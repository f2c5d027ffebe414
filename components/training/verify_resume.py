"""A certificate that an interrupted run equals an untouched one, bit for bit.

The recipe is trained twice for a few steps, once whole and once interrupted: the trainer is thrown
away one step after a checkpoint, and a new one goes on from the file. Batches, losses and adapter
tensors are compared exactly.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.rehearsal import Recorder, Rehearsal, Run, Step
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pathlib import Path

    from components.training.loop import Trainer

MARK = "rehearsal"


@dataclass(frozen=True)
class Certificate:
    """Two runs side by side.

    The second wrote a checkpoint after each of the steps `interrupted`, and was cut off one step
    later. `device` is "cpu" or "cuda".
    """

    whole: Run
    resumed: Run
    interrupted: list[int]
    device: str

    @property
    def first_difference(self) -> Step | None:
        """The first step of the untouched run whose batches or loss are not those of the other."""
        pairs = zip(self.whole.steps, self.resumed.steps, strict=True)
        return next((one for one, other in pairs if one != other), None)

    @property
    def different_tensors(self) -> list[str]:
        """Names of the adapter tensors that differ at the end."""
        other = self.resumed.tensors
        return [name for name, digest in self.whole.tensors.items() if other[name] != digest]

    @property
    def equal(self) -> bool:
        """Whether everything is the same, bit for bit."""
        return self.whole == self.resumed

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        steps, tensors = len(self.whole.steps), len(self.whole.tensors)
        if self.equal:
            return f"equal, bit for bit: {steps} steps and {tensors} adapter tensors"
        step = self.first_difference
        if step is not None:
            other = self.resumed.steps[step.number - 1]
            what = "batches" if step.batches != other.batches else "loss"
            return f"different from step {step.number} on: its {what}"
        if self.different_tensors:
            return (
                f"different at the end: {len(self.different_tensors)} of {tensors} adapter "
                f"tensors, first {self.different_tensors[0]}"
            )
        return "different: the validation losses"


def verify_resume(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    *,
    steps: int,
    context: Context,
) -> Certificate:
    """Train `steps` steps twice, the second time interrupted twice, and compare.

    Half of the steps are the first of epoch 1, half the first of epoch 2 where the recipe has one;
    one interruption falls into each. Evaluations fall between them. Checkpoints go to
    `context.scratch` and are removed.

    Raises:
        ModelError: fewer than four steps are asked for, or the recipe has fewer.
    """
    rehearsal = Rehearsal(base, tokens, settings, steps, context)
    folder = context.scratch / "verify-resume"
    quarter = max(1, steps // 4)
    cuts = [quarter, steps - quarter]
    shutil.rmtree(folder, ignore_errors=True)
    try:
        whole, device = untouched(rehearsal)
        return Certificate(whole, interrupted(rehearsal, cuts, folder / MARK), cuts, device)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def untouched(rehearsal: Rehearsal) -> tuple[Run, str]:
    """Train without a break; return the run and the device."""
    trainer, epochs = rehearsal.trainer()
    recorder = Recorder()
    recorder.listen(trainer)
    trainer.run()
    rehearsal.context.events.progress("whole run", rehearsal.steps, rehearsal.steps)
    return recorder.run(trainer, epochs), str(trainer.model.device.type)


def interrupted(rehearsal: Rehearsal, cuts: list[int], folder: "Path") -> Run:
    """Train with a new trainer after each cut, each going on from the checkpoint on the disk."""
    from components.training.checkpoint import load_checkpoint
    from components.training.resume import restore

    recorder, events = Recorder(), rehearsal.context.events
    for cut in [*cuts, rehearsal.steps]:
        trainer, epochs = rehearsal.trainer()
        if state := load_checkpoint(folder, MARK, events.note):
            restore(trainer, state)
        recorder.listen(trainer)
        trainer.save = cut_off(cut, folder)
        try:
            trainer.run()
        except CutOffError:
            events.note(f"checkpoint after step {cut}, interrupted after step {cut + 1}")
    return recorder.run(trainer, epochs)


class CutOffError(Exception):
    """Ends a run in the middle."""


def cut_off(step: int, folder: "Path") -> "Callable[[Trainer], None]":
    """Return a `Trainer.save` that writes a checkpoint after `step` and ends the run after next."""
    from components.training.checkpoint import save_checkpoint
    from components.training.resume import state_of

    def save(trainer: "Trainer") -> None:
        if trainer.progress.step == step:
            save_checkpoint(folder, step, state_of(trainer, MARK))
        if trainer.progress.step > step:
            raise CutOffError

    return save
