"""Learning from pairs: a run that learns, survives, and is forecast and certified."""

import csv
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from made_pairs import CPU, EOS, SETTINGS, pair_row
from pydantic import ValidationError

from components.contracts.errors import DataError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.tables import tokens_schema
from components.model.base import load_base
from components.training.collate import pad
from components.training.forecast import forecast
from components.training.pairs import collate_pairs, read_pairs
from components.training.preference_loss import (
    answer_logprobs,
)
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume


class Killed(Exception):
    """Stands for a power cut."""


class KillAt(Heard):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.at = step

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        super().metrics(step, values)
        if step == self.at:
            raise Killed


@pytest.fixture(scope="module")
def trained(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, tmp_path_factory: pytest.TempPathFactory
) -> Adapter:
    folder = tmp_path_factory.mktemp("trained")
    context = Context(root=folder, scratch=folder / "scratch")
    return train(tiny_base, pair_tokens, SETTINGS, out=folder / "adapter", context=context)


def curve(adapter: Adapter) -> list[dict[str, str]]:
    with adapter.curve.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_it_learns_to_prefer(trained: Adapter) -> None:
    points = curve(trained)
    assert float(points[0]["loss"]) == pytest.approx(math.log(2), abs=1e-3)
    assert float(points[0]["rewards/margins"]) == pytest.approx(0, abs=1e-3)
    assert float(points[-1]["rewards/margins"]) > 1
    assert float(points[-1]["rewards/accuracies"]) == 1.0
    assert float(points[-1]["eval_rewards/accuracies"]) == 1.0
    assert float(points[-1]["eval_loss"]) < 0.5 * math.log(2)


def test_a_killed_run_goes_on_bit_for_bit(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, trained: Adapter, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    out = tmp_path / "adapter"
    context = Context(root=tmp_path, scratch=scratch, events=KillAt(8))
    with pytest.raises(Killed):
        train(tiny_base, pair_tokens, SETTINGS, out=out, context=context)
    heard = Heard()
    context = Context(root=tmp_path, scratch=scratch, events=heard)
    resumed = train(tiny_base, pair_tokens, SETTINGS, out=out, context=context)
    assert "resuming after step 6" in heard.notes
    assert not any(label.startswith("reference") for label, _, _ in heard.marks)
    assert resumed.digest == trained.digest
    assert not (scratch / "train").exists(), "what was kept for a crash is gone"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True},
        {"init_lora_weights": "pissa"},
        {"finetuning_type": "full"},
    ],
    ids=str,
)
def test_the_reference_is_the_base(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = SETTINGS.model_copy(update=changes)
    trainer = prepare(tiny_base, pair_tokens, settings, Context(tmp_path, tmp_path / "scratch"))
    rows: Any = trainer.rows
    plain = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    inputs = collate_pairs(rows[:4], partial(pad, device=CPU))
    with torch.no_grad():
        expected = answer_logprobs(plain, inputs, fast=False)
    found = torch.from_numpy(rows.reference[:4]).flatten()
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-4)
    trainer.settings = settings.model_copy(update={"eval_steps": None})
    trainer.plan = trainer.plan[:2]
    trainer.run()
    assert trainer.progress.curve[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)


def test_accumulating_gives_the_loss_of_the_whole_batch(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, tmp_path: Path
) -> None:
    losses = []
    for size, steps in ((12, 1), (6, 2), (3, 4)):
        settings = SETTINGS.model_copy(
            update={
                "per_device_train_batch_size": size,
                "gradient_accumulation_steps": steps,
                "loss_type": "ipo",
            }
        )
        context = Context(root=tmp_path, scratch=tmp_path / f"s{size}", events=Heard())
        trainer = prepare(tiny_base, pair_tokens, settings, context)
        trainer.plan = [[tuple(range(i, i + size)) for i in range(0, 12, size)]] * 3
        trainer.validation = []
        trainer.run()
        losses.append([point["loss"] for point in trainer.progress.curve])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], abs=1e-5)


def test_out_of_memory_halves_the_pairs_and_changes_no_figure(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"max_steps": 3, "eval_steps": None})
    curves = []
    for most in (99, 3):
        context = Context(root=tmp_path, scratch=tmp_path / f"s{most}", events=Heard())
        trainer = prepare(tiny_base, pair_tokens, settings, context)
        loss = trainer.loss

        def limited(
            model: Any, inputs: Any, loss: Any = loss, most: int = most, trainer: Any = trainer
        ) -> Any:
            found = loss(model, inputs)
            # Later than in step 1, where all rewards are 0 and counting some twice would not show.
            if trainer.progress.step and len(inputs.counts) > 2 * most:
                raise torch.OutOfMemoryError("made up")
            return found

        trainer.loss = limited
        trainer.run()
        assert trainer.progress.out_of_memory == (1 if most == 3 else 0)
        curves.append(trainer.progress.curve)
    for whole, halved in zip(*curves, strict=True):
        for name in ("loss", "rewards/margins", "rewards/accuracies"):
            assert halved[name] == pytest.approx(whole[name], abs=1e-5), name


def test_rows_without_pairs_are_named(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"row 1 of train\.parquet has no rejected_ids"):
        train(tiny_base, tiny_tokens, SETTINGS, out=tmp_path / "adapter", context=context)


def test_answers_of_the_same_tokens_are_named(tmp_path: Path) -> None:
    rows = [pair_row("train", 0), {**pair_row("train", 1), "rejected_ids": [61, 80, EOS]}]
    assert rows[1]["answer_ids"] == rows[1]["rejected_ids"]
    table = pa.Table.from_pylist(rows, schema=tokens_schema())
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(
        DataError, match=r"row 2 of train\.parquet: chosen and rejected are the same"
    ):
        read_pairs(tmp_path / "train.parquet")


def test_settings_without_a_use_are_refused() -> None:
    with pytest.raises(ValidationError, match="label_smoothing is for loss_type robust"):
        TrainingSettings(loss_type="sigmoid", label_smoothing=0.1)


def test_a_run_of_pairs_is_forecast_without_computing(
    tiny_base: BaseModelFolder, pair_tokens: Tokens
) -> None:
    found = forecast(tiny_base, pair_tokens, SETTINGS, runtime=0)
    assert found.rows == 48
    assert found.steps == 12
    assert found.memory.activations > 0


def test_resuming_pairs_can_be_certified(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, tmp_path: Path
) -> None:
    context = Context(root=tmp_path, scratch=tmp_path / "scratch")
    found = verify_resume(tiny_base, pair_tokens, SETTINGS, steps=6, context=context)
    assert found.equal
