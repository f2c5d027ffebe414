"""An encoder-decoder: the loss of transformers, exact ways, a standard peft folder, going on."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_seq2seq import pair_tokens, random_t5

from components.contracts.errors import RecipeError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.model.opened import open_tuned
from components.model.seq2seq import load_seq2seq, start_token
from components.training.forecast import forecast
from components.training.learn_sources import pad_sources, reference_loss, target_loss
from components.training.rows import read_rows
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume

CPU = torch.device("cpu")


KINDS = [
    pytest.param(True, id="t5"),
    pytest.param(False, id="t5-v1.1", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=KINDS)
def t5(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_t5(tmp_path_factory.mktemp("t5") / "base", tied=request.param)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return pair_tokens(tmp_path_factory.mktemp("pairs") / "tokens")


def settings_of(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {"learning_rate": 5e-3, "warmup_steps": 2, "bf16": False, "lora_r": 4}
    values |= {"num_train_epochs": 3, "per_device_train_batch_size": 10}
    return TrainingSettings(**{**values, **changes})


def context(folder: Path, heard: Heard | None = None) -> Context:
    return Context(folder, folder, events=heard or Heard())


@pytest.fixture(scope="module", params=["lora", pytest.param("full", marks=pytest.mark.slow)])
def trained(
    request: pytest.FixtureRequest,
    t5: BaseModelFolder,
    tokens: Tokens,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Adapter, Heard]:
    folder, heard = tmp_path_factory.mktemp("trained"), Heard()
    rate = 1e-2 if request.param == "lora" else 2e-3
    settings = settings_of(finetuning_type=request.param, learning_rate=rate, num_train_epochs=6)
    return train(
        t5, tokens, settings, out=folder / "adapter", context=context(folder, heard)
    ), heard


def test_it_learns(trained: tuple[Adapter, Heard]) -> None:
    losses = [values["loss"] for _, values in trained[1].curve]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]
    assert trained[0].facts["task_type"] == "SEQ_2_SEQ_LM"


def test_transformers_and_peft_read_the_folder_by_themselves(
    trained: tuple[Adapter, Heard], t5: BaseModelFolder, tokens: Tokens
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSeq2SeqLM

    adapter = trained[0]
    if (adapter.model / "adapter_config.json").is_file():
        plain = AutoModelForSeq2SeqLM.from_pretrained(t5.model)
        model = PeftModel.from_pretrained(plain, adapter.model).eval()
        named = {name.split(".lora_")[0].rpartition(".")[2] for name in lora_names(model)}
        gated = {"wi_0", "wi_1"} if t5.facts["architecture"] and not t5.facts["tied"] else {"wi"}
        assert named == {"q", "k", "v", "o", "wo"} | gated
    else:
        model = AutoModelForSeq2SeqLM.from_pretrained(adapter.model).eval()
    ours = open_tuned(t5, adapter, CPU)
    row = read_rows(tokens.split("test"))[0]
    source = [int(i) for i, label in zip(row.input_ids, row.labels, strict=True) if label < 0]
    target = [int(label) for label in row.labels if label >= 0]
    found = dict(ours.read((), [[*source, *target[:-1]]], [len(target)]))[0]
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).logits[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def lora_names(model: Any) -> list[str]:
    return [name for name, _ in model.named_parameters() if ".lora_A." in name]


@pytest.mark.parametrize("way", [target_loss, reference_loss])
def test_the_loss_is_that_of_transformers_and_padding_adds_nothing(
    t5: BaseModelFolder, tokens: Tokens, way: Any
) -> None:
    model = load_seq2seq(t5.model).eval()
    rows = read_rows(tokens.split("train"))[:9]
    expected = 0.0
    for row in rows:
        source = torch.tensor(row.input_ids[row.labels < 0])[None]
        target = torch.tensor(row.labels[row.labels >= 0])[None]
        loss = model(input_ids=source, labels=target).loss.detach()
        expected += float(loss) * target.shape[1]  # transformers gives the mean
    inputs = pad_sources(rows, 0, CPU)
    assert float(way(model, inputs).detach()) == pytest.approx(expected, rel=1e-5)
    assert inputs.tokens == sum(len(row.input_ids) for row in rows)


@pytest.mark.slow
def test_few_logits_at_a_time_are_all_logits(
    t5: BaseModelFolder, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_seq2seq(t5.model).eval()
    inputs = pad_sources(read_rows(tokens.split("train"))[:9], 0, CPU)
    found = []
    for chunk in (2**25, 4 * model.config.vocab_size):
        monkeypatch.setattr("components.training.chunked_loss.CHUNK", chunk)
        model.zero_grad()
        loss = target_loss(model, inputs)
        loss.backward()
        grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((float(loss.detach()), grads))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_first_steps_are_those_of_a_plain_loop(
    t5: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    """transformers' and peft's own forward, all logits, AdamW: nothing of ours but the plan."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSeq2SeqLM

    losses = {}
    for fast in (True, False):
        settings = settings_of(fast=fast, warmup_steps=0, lr_scheduler_type="constant")
        trainer = prepare(t5, tokens, settings, context(tmp_path))
        trainer.model.train()
        for number in range(1, 9):
            trainer.step(number)
        losses[fast] = [point["loss"] for point in trainer.progress.curve]
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", task_type="SEQ_2_SEQ_LM")
    model = get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(t5.model), config).train()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=5e-3, weight_decay=0.0)
    plain = []
    for step in trainer.plan[:8]:
        inputs = pad_sources([trainer.rows[index] for index in step[0]], 0, CPU)
        loss = model(**inputs.arguments, labels=inputs.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        plain.append(float(loss.detach()))
    np.testing.assert_allclose(losses[True], plain, atol=1e-4)
    np.testing.assert_allclose(losses[False], plain, atol=1e-4)


@pytest.mark.slow
def test_bf16_stays_near(t5: BaseModelFolder, tokens: Tokens, tmp_path: Path) -> None:
    losses = []
    for bf16 in (False, True):
        trainer = prepare(t5, tokens, settings_of(bf16=bf16), context(tmp_path))
        trainer.model.train()
        for number in range(1, 4):
            trainer.step(number)
        losses.append([point["loss"] for point in trainer.progress.curve])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.03)
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_accumulated_batches_are_one_batch(
    t5: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    losses = []
    for size, steps in ((20, 1), (5, 4)):
        settings = settings_of(
            per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=2
        )
        trainer = prepare(t5, tokens, settings, context(tmp_path))
        rows = tuple(range(20))
        trainer.plan = [[rows[i : i + size] for i in range(0, 20, size)]] * 2
        trainer.model.train()
        trainer.step(1)
        trainer.step(2)
        losses.append([point["loss"] for point in trainer.progress.curve])
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)


def test_an_interrupted_run_goes_on_bit_for_bit(
    t5: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    settings = settings_of(gradient_accumulation_steps=2, lora_dropout=0.1, num_train_epochs=4)
    found = verify_resume(t5, tokens, settings, steps=6, context=context(tmp_path))
    assert found.equal


def test_the_forecast_knows_the_model(t5: BaseModelFolder, tokens: Tokens) -> None:
    told = forecast(t5, tokens, settings_of(), runtime=0)
    assert told.rows == 60
    assert told.tokens == 3 * sum(read_rows(tokens.split("train")).lengths)
    assert told.memory.activations > 0
    assert told.parameters > told.trainable_parameters > 0


@pytest.mark.parametrize(
    "setting", [{"packing": True}, {"load_in_4bit": True}, {"lora_top_layers": 1}]
)
def test_what_is_for_decoders_only_is_refused(
    t5: BaseModelFolder, tokens: Tokens, tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError, match=f"training.{next(iter(setting))}: not for"):
        prepare(t5, tokens, settings_of(**setting), context(tmp_path))


def test_the_decoder_begins_as_the_config_says(t5: BaseModelFolder) -> None:
    model = load_seq2seq(t5.model)
    assert start_token(model) == 0
    shifted = model.prepare_decoder_input_ids_from_labels(torch.tensor([[7, 8, -100]]))
    assert shifted.tolist() == [[0, 7, 8]]
    assert math.isclose(float(model.config.dropout_rate), 0.0)
