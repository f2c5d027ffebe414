"""The step as a whole: it learns, stops, survives, and writes the same bytes again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.contracts.errors import DataError, ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.model.base import load_base
from components.training.rows import read_rows
from components.training.settings import TrainingSettings
from components.training.train import prepare, train, trained_rows

SETTINGS = TrainingSettings(
    learning_rate=2e-2,
    warmup_steps=2,
    num_train_epochs=4,
    per_device_train_batch_size=10,
    eval_steps=6,
    save_steps=5,
    bf16=False,
)


class Killed(Exception):
    """Stands for a power cut: nothing in the line catches it."""


class KillAt(Heard):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.at = step

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        super().metrics(step, values)
        if step == self.at:
            raise Killed


def run(
    base: BaseModelFolder, tokens: Tokens, out: Path, context: Context, **changes: object
) -> Adapter:
    settings = SETTINGS.model_copy(update=changes)
    return train(base, tokens, settings, out=out, context=context)


def losses(context: Context) -> list[float]:
    assert isinstance(context.events, Heard)
    return [values["loss"] for _, values in context.events.curve if "loss" in values]


def test_it_learns(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    adapter = run(tiny_base, tiny_tokens, tmp_path / "adapter", context)
    curve = losses(context)
    assert adapter.facts["steps"] == len(curve) == 24
    assert curve[-1] < 0.3 * curve[0]
    assert adapter.facts["best_eval_loss"] < 0.5 * curve[0]


def test_adapter_is_a_peft_folder(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    from peft import PeftModel

    adapter = run(tiny_base, tiny_tokens, tmp_path / "adapter", context, max_steps=2)
    model = load_base(tiny_base.model, dtype=torch.float32, device=torch.device("cpu"))
    loaded = PeftModel.from_pretrained(model, adapter.model)
    weights = [p for n, p in loaded.named_parameters() if "lora_B" in n]
    assert len(weights) == 14
    assert all(float(w.abs().sum()) > 0 for w in weights)


def test_same_inputs_give_the_same_bytes(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    one = run(tiny_base, tiny_tokens, tmp_path / "one", context, max_steps=7)
    two = run(tiny_base, tiny_tokens, tmp_path / "two", context, max_steps=7)
    assert one.digest == two.digest


@pytest.mark.parametrize(("killed_at", "kept"), [(3, 0), (8, 5), (13, 10)])
@pytest.mark.parametrize(
    "extra",
    [{}, {"packing": True, "packing_length": 90}, {"average_last": 0.8}],
    ids=["", "packed", "averaged"],
)
def test_killed_run_goes_on_bit_for_bit(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    killed_at: int,
    kept: int,
    extra: dict[str, object],
) -> None:
    changes = {"gradient_accumulation_steps": 2, "lora_dropout": 0.1, "num_train_epochs": 5}
    changes |= {"max_steps": 14, **extra}
    whole = run(tiny_base, tiny_tokens, tmp_path / "whole", context, **changes)
    cut = replace(context, scratch=tmp_path / "cut", events=KillAt(killed_at))
    with pytest.raises(Killed):
        run(tiny_base, tiny_tokens, tmp_path / "resumed", cut, **changes)
    assert not (tmp_path / "resumed").exists()
    again = replace(cut, events=Heard())
    resumed = run(tiny_base, tiny_tokens, tmp_path / "resumed", again, **changes)
    assert resumed.digest == whole.digest
    assert losses(again) == losses(context)[kept:]


def test_checkpoint_of_other_settings_is_not_resumed(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(tiny_base, tiny_tokens, tmp_path / "a", replace(context, events=KillAt(7)))
    run(tiny_base, tiny_tokens, tmp_path / "a", context, learning_rate=1e-3, max_steps=8)
    assert len(losses(context)) == 8


def test_accumulated_micro_batches_equal_one_batch(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    small = replace(context, events=Heard())
    big = replace(context, events=Heard())
    steps = {"max_steps": 1, "num_train_epochs": 1}
    sizes = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 10}
    run(tiny_base, tiny_tokens, tmp_path / "a", small, **steps, **sizes)
    run(tiny_base, tiny_tokens, tmp_path / "b", big, **steps, per_device_train_batch_size=60)
    assert losses(small) == pytest.approx(losses(big), abs=1e-5)


def test_fast_and_plain_paths_agree_step_by_step(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    plain = replace(context, events=Heard())
    run(tiny_base, tiny_tokens, tmp_path / "a", context)
    run(tiny_base, tiny_tokens, tmp_path / "b", plain, fast=False)
    assert losses(context) == pytest.approx(losses(plain), abs=1e-4)


def test_patience_stops_and_the_best_adapter_is_kept(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    # A rate this high ruins the model after its first good steps.
    adapter = run(
        tiny_base,
        tiny_tokens,
        tmp_path / "a",
        context,
        learning_rate=3.0,
        lr_scheduler_type="constant",
        warmup_steps=20,
        eval_steps=1,
        early_stopping_patience=3,
        num_train_epochs=10,
    )
    assert adapter.facts["stopped_early"]
    assert adapter.facts["steps"] == adapter.facts["best_step"] + 3
    assert adapter.facts["steps"] < adapter.facts["planned_steps"]


def test_the_last_weights_are_averaged(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    settings = TrainingSettings(
        num_train_epochs=5, max_steps=8, average_last=0.5, learning_rate=1e-2, warmup_steps=0
    )
    trainer = prepare(tiny_base, tiny_tokens, settings, context)
    seen = []
    trainer.model.train()
    for number in range(1, 9):
        trainer.step(number)
        seen.append({name: p.detach().clone() for name, p in trainer.trainable.items()})
    assert trainer.progress.averaged == 4
    name = next(name for name in trainer.trainable if "lora_B" in name)
    mean = torch.stack([weights[name] for weights in seen[-4:]]).mean(0)
    assert trainer.progress.average is not None
    torch.testing.assert_close(trainer.progress.average[name], mean)
    trainer.evaluate()
    torch.testing.assert_close(trainer.trainable[name].detach(), seen[-1][name])
    trainer.settle()
    torch.testing.assert_close(trainer.trainable[name].detach(), mean)


def test_loss_that_is_not_finite_stops_with_advice(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"gave loss .*\n.*lower training\.learning_rate"):
        run(tiny_base, tiny_tokens, tmp_path / "a", context, learning_rate=1e30, warmup_steps=0)
    assert not (tmp_path / "a").exists()


def test_unknown_target_module_lists_the_layers(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="down_proj, gate_proj, k_proj"):
        run(tiny_base, tiny_tokens, tmp_path / "a", context, lora_target_modules=["query"])


def test_rows_that_teach_nothing_are_refused(tiny_tokens: Tokens) -> None:
    with pytest.raises(DataError, match="0 of 0 rows"):
        trained_rows(read_rows(tiny_tokens.split("train"), 0))
