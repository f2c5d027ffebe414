"""The certificate of going on: right where all is restored, and telling where something is not."""

from typing import Any

import pytest
import torch

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import resume
from components.training.settings import TrainingSettings
from components.training.verify_resume import Certificate, verify_resume

SETTINGS = TrainingSettings(
    learning_rate=1e-2,
    num_train_epochs=2,
    per_device_train_batch_size=5,
    gradient_accumulation_steps=2,
    lora_dropout=0.1,
    average_last=0.5,
    eval_steps=50,
    bf16=False,
)


def certify(
    base: BaseModelFolder, tokens: Tokens, context: Context, steps: int = 8, **changes: Any
) -> Certificate:
    settings = SETTINGS.model_copy(update=changes)
    return verify_resume(base, tokens, settings, steps=steps, context=context)


@pytest.mark.parametrize("changes", [{}, {"packing": True, "packing_length": 60}])
def test_interrupted_in_both_epochs_all_is_equal(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, changes: dict[str, Any]
) -> None:
    found = certify(tiny_base, tiny_tokens, context, **changes)
    assert found.equal
    assert found.interrupted == [2, 6]
    assert [step.epoch for step in found.whole.steps] == [1] * 4 + [2] * 4
    assert len({step.batches for step in found.whole.steps}) == 8
    assert len(found.whole.validation) == 4
    assert found.verdict == "equal, bit for bit: 8 steps and 28 adapter tensors"
    assert list(context.scratch.iterdir()) == []


def test_random_state_left_out_is_found(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resume, "put_back", lambda _: None)
    found = certify(tiny_base, tiny_tokens, context)
    assert not found.equal
    assert found.verdict == "different from step 3 on: its loss"


def test_a_wrong_place_in_the_data_is_found(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restore = resume.restore

    def wrong(trainer: Any, state: dict[str, Any]) -> None:
        restore(trainer, state)
        trainer.plan = [*trainer.plan[:2], *reversed(trainer.plan[2:])]

    monkeypatch.setattr(resume, "restore", wrong)
    found = certify(tiny_base, tiny_tokens, context)
    assert found.verdict == "different from step 3 on: its batches"


def test_an_optimiser_left_out_is_found(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget(self: Any, state: Any) -> None: ...

    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", forget)
    found = certify(tiny_base, tiny_tokens, context)
    assert found.first_difference is not None
    assert found.first_difference.number == 4, "step 3 goes from the right weights, not its update"


def test_too_few_steps_are_refused(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    with pytest.raises(ModelError, match=r"no room to interrupt\n.*use 4 or more"):
        certify(tiny_base, tiny_tokens, context, steps=3)
    with pytest.raises(ModelError, match=r"12 steps .* not 99\n.*--steps 12"):
        certify(tiny_base, tiny_tokens, context, steps=99)
