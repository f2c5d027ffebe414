"""A step that runs out of memory is taken again in smaller pieces: same rows, same curve."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import train as training
from components.training.loop import Trainer
from components.training.out_of_memory import cut, halving, is_out_of_memory, size
from components.training.rows import Row
from components.training.settings import TrainingSettings
from components.training.train import train

SETTINGS = TrainingSettings(
    learning_rate=1e-2,
    per_device_train_batch_size=12,
    max_steps=8,
    num_train_epochs=3,
    save_steps=3,
    eval_steps=4,
    bf16=False,
)

CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:125] err == 0. DefaultCPUAllocator: can't allocate"


def row(length: int) -> Row:
    return Row(np.arange(length), np.arange(length))


def scarce(trainer: Trainer, rows: int, error: type[Exception], late: bool = False) -> Trainer:
    """Let a forward of more than `rows` rows run out of memory, after a backward if `late`."""
    right, collate, seen = trainer.loss, trainer.collate, [0]

    def counted(batch: Any) -> Any:
        seen[0] = len(batch)
        return collate(batch)

    def loss(model: Any, inputs: Any) -> torch.Tensor:
        value = right(model, inputs)
        if seen[0] <= rows or not model.training:
            return value
        if late:
            value.backward()
        raise error(CPU_MESSAGE)

    trainer.collate, trainer.loss = counted, loss
    return trainer


def run(
    base: BaseModelFolder, tokens: Tokens, context: Context, out: Path, settings: TrainingSettings
) -> tuple[list[float], dict[str, Any], Heard]:
    heard = Heard()
    adapter = train(base, tokens, settings, out=out, context=replace(context, events=heard))
    losses = [values["loss"] for _, values in heard.curve if "loss" in values]
    return losses, adapter.facts, heard


@pytest.mark.parametrize(
    ("error", "extra"),
    [
        (RuntimeError, {}),
        (torch.OutOfMemoryError, {"packing": True, "packing_length": 120}),
        (MemoryError, {"gradient_accumulation_steps": 2}),
    ],
    ids=["half a backward done", "packed", "accumulated"],
)
def test_the_curve_is_that_of_a_run_that_never_ran_out(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    extra: dict[str, Any],
) -> None:
    settings = SETTINGS.model_copy(update=extra)
    whole, facts, _ = run(tiny_base, tiny_tokens, context, tmp_path / "a", settings)
    assert facts["out_of_memory"] == 0
    right = training.prepare
    late = error is RuntimeError
    monkeypatch.setattr(training, "prepare", lambda *args: scarce(right(*args), 4, error, late))
    cut_up, facts, heard = run(tiny_base, tiny_tokens, context, tmp_path / "b", settings)
    assert cut_up == pytest.approx(whole, abs=1e-4)
    assert facts["out_of_memory"] >= 1
    assert facts["max_tokens_per_micro_batch"] < 12 * 17
    assert any("out of memory; taken again with micro-batches" in note for note in heard.notes)


def test_random_state_is_put_back_before_the_step_is_taken_again() -> None:
    drawn: list[torch.Tensor] = []

    def attempt(batches: Any) -> float:
        drawn.append(torch.rand(3))
        if len(drawn) == 1:
            raise torch.OutOfMemoryError
        return 1.0

    let_go: list[int] = []
    result, most = halving(attempt, [[row(5), row(6)]], None, lambda: let_go.append(1))
    assert (result, most, let_go) == (1.0, 6, [1])
    assert torch.equal(drawn[0], drawn[1])


def test_going_on_after_running_out_is_bit_for_bit(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = training.prepare
    monkeypatch.setattr(
        training, "prepare", lambda *args: scarce(right(*args), 4, torch.OutOfMemoryError)
    )
    settings = SETTINGS.model_copy(update={"lora_dropout": 0.1})
    whole = train(tiny_base, tiny_tokens, settings, out=tmp_path / "a", context=context)

    class Killed(Heard):
        def metrics(self, step: int, values: Any) -> None:
            if step == 5:
                raise KeyboardInterrupt

    cut_off = replace(context, events=Killed())
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, tiny_tokens, settings, out=tmp_path / "b", context=cut_off)
    again = replace(context, events=Heard())
    resumed = train(tiny_base, tiny_tokens, settings, out=tmp_path / "b", context=again)
    assert resumed.digest == whole.digest
    assert resumed.facts == whole.facts


def test_one_row_that_does_not_fit_is_refused_with_advice(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = training.prepare
    monkeypatch.setattr(
        training, "prepare", lambda *args: scarce(right(*args), 0, torch.OutOfMemoryError)
    )
    with pytest.raises(ModelError, match=r"one row of \d+ tokens.*\n.*max_length"):
        train(tiny_base, tiny_tokens, SETTINGS, out=tmp_path / "a", context=context)


def test_it_may_be_turned_off(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = training.prepare
    monkeypatch.setattr(
        training, "prepare", lambda *args: scarce(right(*args), 4, torch.OutOfMemoryError)
    )
    settings = SETTINGS.model_copy(update={"auto_find_batch_size": False})
    with pytest.raises(ModelError, match=r"step 1 ran out of memory: .*\n.*auto_find_batch_size"):
        train(tiny_base, tiny_tokens, settings, out=tmp_path / "a", context=context)


def test_batches_are_halved_until_they_are_small_enough() -> None:
    rows = [row(n) for n in (3, 4, 5, 6, 7)]
    pieces = cut([rows, [row(40)]], 14)
    assert [[len(r.input_ids) for r in piece] for piece in pieces] == [[3, 4], [5], [6, 7], [40]]
    assert max(size(piece) for piece in pieces if len(piece) > 1) <= 14
    assert cut([rows], None) == [rows]


def test_other_errors_are_not_taken_for_it() -> None:
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        halving(broken, [[row(3), row(3)]], None, lambda: None)


def broken(_: Any) -> float:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_real_memory_that_runs_out_on_cpu_is_told_apart() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
