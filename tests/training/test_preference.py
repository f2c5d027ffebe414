"""DPO and its kin: the formulas, TRL's own loss, and a run that learns and survives."""

import csv
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from components.contracts.errors import DataError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.tables import IGNORED, tokens_schema
from components.model.base import load_base
from components.training.collate import pack, pad, share_prefix
from components.training.forecast import forecast
from components.training.pairs import Pairs, collate_pairs, read_pairs
from components.training.preference_loss import (
    LOSSES,
    PairInputs,
    PairLoss,
    Ratios,
    answer_logprobs,
)
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume

CPU = torch.device("cpu")
EOS = 2
SETTINGS = TrainingSettings(
    loss_type="sigmoid",
    beta=0.5,
    learning_rate=1e-2,
    warmup_steps=2,
    num_train_epochs=3,
    per_device_train_batch_size=6,
    gradient_accumulation_steps=2,
    eval_steps=4,
    save_steps=3,
    bf16=False,
)


def pair_row(split: str, index: int) -> dict[str, object]:
    """Return one pair: the better answer repeats the prompt's last token, the worse one does not.

    Lengths differ, between rows and between the answers of one.
    """
    rng = np.random.default_rng([index, len(split)])
    word = 60 + index % 2
    prompt = [1, 40, 41, *rng.integers(10, 50, 2 + index % 5).tolist(), word]
    chosen, rejected = [word, 80, EOS], [121 - word, *[81] * (index % 3), EOS]
    return {
        "id": f"{split}-{index}",
        "input_ids": prompt + chosen,
        "labels": [IGNORED] * len(prompt) + chosen,
        "length": len(prompt) + 3,
        "prompt_tokens": len(prompt),
        "answer_ids": chosen,
        "rejected_ids": rejected,
        "target": -1,
    }


@pytest.fixture(scope="module")
def pair_tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("pairs") / "tokens"
    with Tokens.write(folder) as draft:
        for split, count in (("train", 48), ("validation", 12), ("test", 24)):
            rows = [pair_row(split, index) for index in range(count)]
            table = pa.Table.from_pylist(rows, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": EOS}
    return Tokens.open(folder)


@pytest.fixture
def pairs(pair_tokens: Tokens) -> Pairs:
    found = read_pairs(pair_tokens.split("train"), 7)
    found.reference = np.random.default_rng(0).normal(-9, 1, (7, 2)).astype(np.float32)
    return found


def adapted(base: BaseModelFolder, tokens: Tokens, tmp_path: Path, **changes: object) -> Any:
    """Return the trainer's model with an adapter whose B is not zero, the same every time."""
    settings = SETTINGS.model_copy(update=changes)
    scratch = tmp_path / "-".join(["scratch", *map(str, changes.values())])
    trainer = prepare(base, tokens, settings, Context(root=tmp_path, scratch=scratch))
    torch.manual_seed(3)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return trainer.model


def ratios() -> Ratios:
    values = torch.tensor([[0.3, -1.5], [-0.2, 0.4], [2.0, -0.1]], dtype=torch.float64)
    return Ratios(values[:, 0], values[:, 1], torch.tensor([3, 4, 5]), torch.tensor([3, 2, 5]))


def by_hand(loss_type: str, beta: float, smoothing: float) -> list[float]:
    """Return the same losses from the papers' formulas, in plain numbers."""

    def log_sigmoid(x: float) -> float:
        return -math.log1p(math.exp(-x))

    made = []
    for won, lost, n, m in [(0.3, -1.5, 3, 3), (-0.2, 0.4, 4, 2), (2.0, -0.1, 5, 5)]:
        lead, by_token = won - lost, won / n - lost / m
        made.append(
            {
                "sigmoid": -log_sigmoid(beta * lead),
                "sigmoid_norm": -log_sigmoid(beta * by_token),
                "hinge": max(0.0, 1 - beta * lead),
                "ipo": (by_token - 1 / (2 * beta)) ** 2,
                "robust": (
                    -(1 - smoothing) * log_sigmoid(beta * lead)
                    + smoothing * log_sigmoid(-beta * lead)
                )
                / (1 - 2 * smoothing),
            }[loss_type]
        )
    return made


@pytest.mark.parametrize("loss_type", LOSSES)
def test_losses_are_the_papers(loss_type: str) -> None:
    smoothing = 0.2 if loss_type == "robust" else 0.0
    settings = SETTINGS.model_copy(
        update={"loss_type": loss_type, "beta": 0.7, "label_smoothing": smoothing}
    )
    found = LOSSES[loss_type](ratios(), settings)
    assert found.tolist() == pytest.approx(by_hand(loss_type, 0.7, smoothing), rel=1e-6)


def test_every_layout_gives_the_plain_log_probabilities(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, pairs: Pairs, tmp_path: Path
) -> None:
    plain = adapted(tiny_base, pair_tokens, tmp_path, fast=False).get_base_model()
    fast = adapted(tiny_base, pair_tokens, tmp_path).get_base_model()
    batch = list(pairs)
    expected = []
    for pair in batch:
        for row in (pair.chosen, pair.rejected):
            logits = plain(torch.from_numpy(row.input_ids)[None]).logits[0, :-1]
            picked = logits.log_softmax(-1)[range(len(logits)), row.input_ids[1:]]
            expected.append(float(picked[row.labels[1:] != IGNORED].sum().detach()))
    for collate in (share_prefix, pad, pack):
        model = fast if collate is share_prefix else plain
        inputs = collate_pairs(batch, partial(collate, device=CPU))
        found = answer_logprobs(model, inputs, fast=True)
        assert found.tolist() == pytest.approx(expected, abs=2e-4), collate.__name__
    padded = collate_pairs(batch, partial(pad, device=CPU))
    found = answer_logprobs(plain, padded, fast=False)
    assert found.tolist() == pytest.approx(expected, abs=2e-4)


def as_trl(inputs: PairInputs) -> dict[str, torch.Tensor]:
    """Return a padded batch as TRL's trainer takes it: all chosen rows, then all rejected ones."""
    order = [*range(0, len(inputs.counts), 2), *range(1, len(inputs.counts), 2)]
    reference = inputs.reference[order].chunk(2)
    return {
        "input_ids": inputs.arguments["input_ids"][order],
        "attention_mask": inputs.arguments["attention_mask"][order],
        "completion_mask": (inputs.labels != IGNORED).long()[order],
        "ref_chosen_logps": reference[0],
        "ref_rejected_logps": reference[1],
    }


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that has TRL's own trainer compute the loss of a batch."""
    trl = pytest.importorskip("trl", reason="TRL is the reference: pip install trl")
    from datasets import Dataset
    from transformers import AutoTokenizer

    def loss(model: Any, base: BaseModelFolder, inputs: PairInputs, **options: Any) -> Any:
        arguments = trl.DPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            precompute_ref_log_probs=False,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            **options,
        )
        row = {"prompt": "a", "chosen": "b", "rejected": "c"}
        trainer = trl.DPOTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([row]),
            processing_class=AutoTokenizer.from_pretrained(base.model),
        )
        trainer.precompute_ref_logps = True
        found = trainer.compute_loss(trainer.model, as_trl(inputs))
        return found, trainer._metrics["train"]

    return loss


@pytest.mark.parametrize("loss_type", LOSSES)
def test_losses_gradients_and_rewards_are_those_of_trl(
    trl_loss: Any,
    tiny_base: BaseModelFolder,
    pair_tokens: Tokens,
    pairs: Pairs,
    tmp_path: Path,
    loss_type: str,
) -> None:
    options = {"loss_type": loss_type, "beta": 0.3}
    if loss_type == "robust":
        options["label_smoothing"] = 0.1
    ours = adapted(tiny_base, pair_tokens, tmp_path, **options).train()
    theirs = adapted(tiny_base, pair_tokens, tmp_path, fast=False).train()
    loss = PairLoss(SETTINGS.model_copy(update=options), fast=True)
    found = loss(
        ours.get_base_model(), collate_pairs(list(pairs), partial(share_prefix, device=CPU))
    )
    padded = collate_pairs(list(pairs), partial(pad, device=CPU))
    expected, metrics = trl_loss(theirs, tiny_base, padded, **options)
    assert float(found.detach()) / len(pairs) == pytest.approx(float(expected.detach()), rel=1e-4)
    for name, value in loss.measured().items():
        assert value == pytest.approx(metrics[name][0], abs=1e-4), name
    (found / len(pairs)).backward()
    expected.backward()
    wanted = dict(theirs.named_parameters())
    compared = 0
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-3, atol=1e-5)
            compared += 1
    assert compared == 28


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
