"""What is told before training is what training then takes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import advice, machine, probe, tracing
from components.training.cost import Rates, energy_kwh, money
from components.training.forecast import Forecast, area, forecast
from components.training.loop import Trainer
from components.training.settings import TrainingSettings
from components.training.train import prepare

SETTINGS = TrainingSettings(
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    num_train_epochs=1.5,
    average_last=0.25,
    eval_steps=4,
    bf16=False,
)


class RealBytes(tracing.LiveBytes):
    """Counts the bytes of real tensors in the same way: what a step takes when it is run."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return result

    def counts(self, tensor: torch.Tensor) -> bool:
        return tensor.dtype.is_floating_point


def expected(base: BaseModelFolder, tokens: Tokens, **changes: Any) -> Forecast:
    return forecast(base, tokens, SETTINGS.model_copy(update=changes), runtime=0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"packing": True, "packing_length": 60},
        {"fast": False},
        {"bf16": True},
        {"gradient_checkpointing": True},
        {"lora_top_layers": 1},
    ],
    ids=["flat", "packed", "plain", "bf16", "checkpointing", "top"],
)
def test_the_memory_told_is_the_memory_taken(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, changes: dict[str, Any]
) -> None:
    settings = SETTINGS.model_copy(update=changes)
    told = forecast(tiny_base, tiny_tokens, settings, runtime=0)
    trainer = prepare(tiny_base, tiny_tokens, settings, context)
    assert told.memory.activations == pytest.approx(taken(trainer), rel=0.05)
    frozen = sum(p.nbytes for p in trainer.model.parameters() if not p.requires_grad)
    assert told.memory.weights == frozen
    assert told.memory.adapter == sum(p.nbytes for p in trainer.trainable.values())
    moments = [m for state in stepped(trainer).values() for m in state.values() if m.dim()]
    assert told.memory.optimizer == sum(m.nbytes for m in moments)


def taken(trainer: Trainer) -> int:
    """Return the bytes alive at most in a real forward and backward of the largest batch."""
    lengths = [len(row.input_ids) for row in trainer.rows]
    largest = max((b for step in trainer.plan for b in step), key=lambda b: area(b, lengths))
    inputs = trainer.collate([trainer.rows[row] for row in largest])
    trainer.model.train()
    with RealBytes([*trainer.model.parameters(), *trainer.model.buffers()]) as real:
        before = real.live
        trainer.loss(trainer.model, inputs).backward()
        peak = real.peak - before
    trainer.model.zero_grad(set_to_none=True)
    return peak


FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "qwen2": {},
    "gemma3_text": {"head_dim": 16},
    "gpt_neox": {"num_key_value_heads": 4},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "changes", [{}, {"packing": True, "packing_length": 60}], ids=["", "packed"]
)
def test_other_families_are_told_as_well(
    tiny_tokens: Tokens, context: Context, tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    config = AutoConfig.for_model(family, **({} if family == "gpt2" else sizes) | FAMILIES[family])
    with BaseModelFolder.write(tmp_path / "base") as draft:
        AutoModelForCausalLM.from_config(config).save_pretrained(draft.folder / "model")
    base = BaseModelFolder.open(tmp_path / "base")
    settings = SETTINGS.model_copy(update=changes)
    told = forecast(base, tiny_tokens, settings, runtime=0)
    trainer = prepare(base, tiny_tokens, settings, context)
    assert told.memory.activations == pytest.approx(taken(trainer), rel=0.1)


def test_a_model_that_must_be_run_is_told_so() -> None:
    weights = torch.nn.Linear(2, 2, device="meta")

    def loss() -> torch.Tensor:
        out = weights(torch.ones(1, 2)).sum()
        return out if bool(out > 0) else -out

    with pytest.raises(ModelError, match="cannot be told without running it"):
        tracing.traced_peak(weights, loss)


def stepped(trainer: Trainer) -> Any:
    trainer.step(1)
    return trainer.optimizer.state


def test_the_work_told_is_the_work_done(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    told = expected(tiny_base, tiny_tokens)
    trainer = prepare(tiny_base, tiny_tokens, SETTINGS, context)
    progress = trainer.run()
    assert told.steps == progress.step
    assert told.tokens == sum(point["tokens"] for point in progress.curve)
    assert told.evaluations == sum("eval_loss" in point for point in progress.curve)
    assert told.rows == 60
    assert told.trainable_parameters == sum(p.numel() for p in trainer.trainable.values())
    assert told.parameters == sum(p.numel() for p in trainer.model.parameters())
    assert told.dtype == "float32"


def test_less_is_needed_where_less_is_kept(tiny_base: BaseModelFolder, tiny_tokens: Tokens) -> None:
    whole = expected(tiny_base, tiny_tokens).memory
    half = expected(tiny_base, tiny_tokens, per_device_train_batch_size=4).memory
    assert half.activations < 0.7 * whole.activations
    four = expected(tiny_base, tiny_tokens, load_in_4bit=True).memory
    eight = expected(tiny_base, tiny_tokens, load_in_8bit=True).memory
    assert four.weights < eight.weights < whole.weights
    assert expected(tiny_base, tiny_tokens, average_last=0.0).memory.copies < whole.copies


def test_processes_on_one_machine_need_as_often_as_much(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens
) -> None:
    one, two = (expected(tiny_base, tiny_tokens, num_processes=count) for count in (1, 2))
    assert two.memory == one.memory, "each has micro-batches as large as one alone"
    assert (one.needed, two.needed) == (one.memory.needed, 2 * one.memory.needed)
    assert two.steps < one.steps, "a step has the rows of both"
    assert two.tokens == one.tokens
    on_gpus = replace(two, device="cuda")
    assert on_gpus.needed == two.memory.needed, "each has a device of its own"
    measured = probe.Probe([100, 200], [1.0, 2.0], 0.0, 0.0, 0)
    alone = probe.duration(measured, replace(two, processes=1)).training
    assert probe.duration(measured, on_gpus).training == pytest.approx(alone / 2)
    assert probe.duration(measured, two).training == pytest.approx(alone), "the cores are the same"


def test_fsdp_cuts_up_what_is_trained(tiny_base: BaseModelFolder, tiny_tokens: Tokens) -> None:
    full = {"finetuning_type": "full", "num_processes": 2}
    whole = expected(tiny_base, tiny_tokens, **full).memory
    parts = expected(tiny_base, tiny_tokens, **full, fsdp=True).memory
    assert parts.optimizer == whole.optimizer // 2
    assert parts.gradients == whole.gradients // 2
    assert parts.adapter > whole.adapter // 2, "its part, and two blocks whole"


def test_nothing_of_the_weights_is_read(tiny_base: BaseModelFolder, tiny_tokens: Tokens) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a weight was read")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("safetensors.torch.load_file", refuse)
        monkeypatch.setattr("components.model.base.load_base", refuse)
        expected(tiny_base, tiny_tokens)


def test_advice_fits_and_begins_with_the_mildest(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens
) -> None:
    whole = expected(tiny_base, tiny_tokens).memory
    moving = whole.activations + whole.allocator
    room = whole.needed - moving // 5  # of two blocks, checkpointing frees no third
    found = advice.changes(tiny_base, tiny_tokens, SETTINGS, 0, room)
    halved = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert found[0].settings == halved
    assert {"gradient_checkpointing": True} in [change.settings for change in found]
    assert all(change.needed <= room for change in found)
    assert advice.changes(tiny_base, tiny_tokens, SETTINGS, 0, whole.needed - moving) == []


def test_the_probe_takes_steps_of_all_lengths(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    measured = probe.probe(tiny_base, tiny_tokens, SETTINGS, steps=5, context=context)
    whole = prepare(tiny_base, tiny_tokens, SETTINGS, context)
    sizes = [
        sum(len(whole.rows[row].input_ids) for batch in step for row in batch)
        for step in whole.plan
    ]
    assert len(measured.seconds) == 5
    assert measured.tokens[0] == min(sizes)
    assert measured.tokens[-1] == max(sizes)
    assert measured.peak_bytes > 1e6
    time = probe.duration(measured, expected(tiny_base, tiny_tokens))
    assert time.seconds > time.training > 0
    assert time.evaluating > 0


def test_the_line_through_the_steps() -> None:
    assert probe.line([100, 200, 300], [1.5, 2.5, 3.5]) == pytest.approx((0.5, 0.01))
    assert probe.line([100, 200], [1.0, 3.0]) == pytest.approx((0.0, 4 / 300)), "through nothing"
    assert probe.line([100, 200], [3.0, 1.0]) == (2.0, 0.0), "longer is not quicker"
    assert probe.line([100, 100], [3.0, 1.0]) == (2.0, 0.0)


def test_energy_and_money() -> None:
    assert energy_kwh(7200, Rates(watts=500)) == 1.0
    assert money(7200, Rates(watts=500, price_per_kwh=0.3)) == pytest.approx(0.3)
    assert money(7200, Rates(watts=500, price_per_kwh=0.3, price_per_hour=2)) == pytest.approx(4.3)
    assert money(7200, Rates()) is None
    assert energy_kwh(7200, Rates()) is None


def test_a_limit_of_the_container_counts(tmp_path: Path) -> None:
    assert machine.cgroup_left(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert machine.cgroup_left(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert machine.cgroup_left(tmp_path) == 600
    assert machine.room_bytes(torch.device("cpu")) > machine.resident_bytes() > 1e6
