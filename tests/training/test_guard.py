"""A loss that is not finite: stopped, or left out and counted."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import train as training
from components.training.loop import Trainer
from components.training.settings import TrainingSettings
from components.training.train import prepare, train

SETTINGS = TrainingSettings(
    learning_rate=1e-2,
    per_device_train_batch_size=10,
    max_steps=6,
    save_steps=2,
    on_nonfinite="skip",
    bf16=False,
)


def spoil(trainer: Trainer, steps: set[int], value: float = math.nan) -> Trainer:
    """Make the loss of some steps `value`."""
    right = trainer.loss

    def loss(model: Any, inputs: Any) -> torch.Tensor:
        bad = trainer.progress.step + 1 in steps
        return right(model, inputs) * (value if bad else 1.0)

    trainer.loss = loss
    return trainer


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_spoilt_step_is_left_out(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, value: float
) -> None:
    trainer = spoil(prepare(tiny_base, tiny_tokens, SETTINGS, context), {3}, value)
    trainer.model.train()
    seen = []
    for number in range(1, 5):
        trainer.step(number)
        seen.append({name: p.detach().clone() for name, p in trainer.trainable.items()})
    assert trainer.progress.skipped == 1
    assert trainer.progress.step == 4
    assert all(torch.equal(seen[2][name], seen[1][name]) for name in seen[1])
    assert not all(torch.equal(seen[3][name], seen[2][name]) for name in seen[2])
    assert all(p.isfinite().all() for p in seen[3].values())
    assert isinstance(context.events, Heard)
    assert (3, {"skipped_steps": 1}) in context.events.curve
    assert "step 3: loss or gradient not finite, step skipped" in context.events.notes


def test_too_many_stop_the_run_and_keep_the_checkpoint(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil_all(monkeypatch, {3, 4, 5})
    settings = SETTINGS.model_copy(update={"max_skipped_steps": 2})
    with pytest.raises(ModelError, match=r"step 5 gave loss nan.*after 2 such steps were skipped"):
        train(tiny_base, tiny_tokens, settings, out=tmp_path / "a", context=context)
    assert len(list((context.scratch / "train").rglob("checkpoint-*.pt"))) == 2


def test_skipped_steps_stand_in_facts_and_curve(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil_all(monkeypatch, {1, 4})
    adapter = train(tiny_base, tiny_tokens, SETTINGS, out=tmp_path / "a", context=context)
    assert adapter.facts["skipped_steps"] == 2
    assert math.isfinite(adapter.facts["first_loss"])
    with adapter.curve.open(encoding="utf-8") as stream:
        losses = [point["loss"] for point in csv.DictReader(stream)]
    assert [number for number, loss in enumerate(losses, 1) if not loss] == [1, 4]


def test_a_run_without_one_good_step_leaves_no_adapter(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil_all(monkeypatch, set(range(1, 7)))
    with pytest.raises(ModelError, match="all 6 training steps were skipped"):
        train(tiny_base, tiny_tokens, SETTINGS, out=tmp_path / "a", context=context)
    assert not (tmp_path / "a").exists()


def spoil_all(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Make every trainer that `train` prepares find its loss spoilt at these steps."""
    right = training.prepare
    monkeypatch.setattr(training, "prepare", lambda *args: spoil(right(*args), steps))
