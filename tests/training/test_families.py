"""Every family of decoders: the right loss, and the whole line from training to the ONNX file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_families import EXPORTED, FAMILIES, SCALED, make_model, write_base

from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Dataset, Evaluation, Tokens
from components.evaluation.evaluate import evaluate
from components.evaluation.settings import EvaluationSettings
from components.export.export import export
from components.export.settings import ExportSettings
from components.model.adapter import attach_adapter
from components.model.head import head_of
from components.model.settings import LoraSettings
from components.model.shared_prefix import attends_plainly
from components.model.torch_lm import TorchLM
from components.training.collate import pad, share_prefix
from components.training.loss import answer_loss, reference_loss
from components.training.rows import Row, read_rows
from components.training.settings import TrainingSettings
from components.training.train import prepare, speed_up, train
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

CPU = torch.device("cpu")
CAPPED = {"gemma2", "granite", *SCALED}


@pytest.fixture(scope="module")
def rows(tiny_tokens: Tokens) -> list[Row]:
    return read_rows(tiny_tokens.split("train"))[:9]


def adapted(family: str) -> Any:
    """Return a model with an adapter whose B is not zero, the same every time."""
    tuned = attach_adapter(make_model(family), LoraSettings(lora_r=4))
    torch.manual_seed(3)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return tuned


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("family", FAMILIES | SCALED | EXPORTED)
def test_fast_loss_and_gradients_are_those_of_the_models_own_forward(
    family: str, rows: list[Row]
) -> None:
    plain, fast = adapted(family), adapted(family)
    base = fast.get_base_model()
    settings = TrainingSettings(bf16=False)
    flat = attends_plainly(base, 20)
    assert flat == (family not in {"mistral", "gemma2", "gemma3", "gemma3, capped"})
    before = torch.get_float32_matmul_precision()
    speed_up(fast, base, settings, flat=flat)
    torch.set_float32_matmul_precision(before)
    expected = reference_loss(plain.get_base_model(), pad(rows, CPU))
    found = answer_loss(base, share_prefix(rows, CPU) if flat else pad(rows, CPU))
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    expected_grads, found_grads = gradients(plain, expected), gradients(fast, found)
    assert len(found_grads) in (16, 24, 28)
    for name, grad in found_grads.items():
        assert grad.abs().sum() > 0, name
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-3, atol=1e-4)


def test_an_adapter_on_the_head_itself(rows: list[Row]) -> None:
    settings = LoraSettings(lora_r=4, lora_target_modules=["q_proj", "lm_head"])
    models = [attach_adapter(make_model("llama"), settings) for _ in range(2)]
    for model in models:
        torch.manual_seed(3)
        for parameter in (p for n, p in model.named_parameters() if "lora_" in n):
            torch.nn.init.normal_(parameter, std=0.05)
    plain, fast = models
    base = fast.get_base_model()
    speed_up(fast, base, TrainingSettings(bf16=False), flat=False)
    torch.set_float32_matmul_precision("highest")
    expected = gradients(plain, reference_loss(plain.get_base_model(), pad(rows, CPU)))
    found = gradients(fast, answer_loss(base, pad(rows, CPU), head_of(base)))
    assert len([name for name in found if "lm_head" in name]) == 2
    for name, grad in found.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES | SCALED | EXPORTED)
def test_the_head_alone_is_taken_only_where_it_is_all(family: str) -> None:
    model = make_model(family)
    state, head = torch.get_rng_state(), head_of(model)
    assert torch.equal(state, torch.get_rng_state()), "finding out leaves the run's randomness"
    assert (head is model.get_output_embeddings()) == (family not in CAPPED)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        hidden = model.get_decoder()(ids).last_hidden_state[0]
        torch.testing.assert_close(head(hidden), model(ids).logits[0], rtol=0, atol=1e-5)
        alone = model.get_output_embeddings()(hidden)
    if family in CAPPED:
        assert (alone - head(hidden)).abs().max() > 0.05, "the test can tell the two apart"


@pytest.mark.parametrize("family", FAMILIES | SCALED | EXPORTED)
def test_scoring_reads_the_models_own_logits(family: str) -> None:
    model = make_model(family)
    prefix, ends, keep = [7, 8, 9, 10], [[11, 12, 13], [14], [15, 16, 17, 18, 19, 20]], [2, 1, 6]
    with torch.no_grad():
        expected = [model(torch.tensor([prefix + end])).logits[0].numpy() for end in ends]
    found = dict(TorchLM(model).read(prefix, ends, keep))
    for index, kept in enumerate(keep):
        np.testing.assert_allclose(found[index], expected[index][-kept:], atol=5e-5)


@dataclass
class Tuned:
    """A family's tiny base, trained and scored."""

    family: str
    base: BaseModelFolder
    adapter: Adapter
    evaluation: Evaluation
    losses: list[float]
    folder: Path


def settings_of(family: str, **changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {"learning_rate": 2e-2, "warmup_steps": 2, "bf16": False}
    values |= {"num_train_epochs": 6, "per_device_train_batch_size": 10}
    return TrainingSettings(**{**values, **changes})


@pytest.fixture(scope="module", params=FAMILIES)
def tuned(
    request: pytest.FixtureRequest,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tuned:
    folder, heard = tmp_path_factory.mktemp("family"), Heard()
    context = Context(folder, folder, events=heard)
    base = write_base(request.param, folder / "base", tiny_base)
    settings = settings_of(request.param)
    adapter = train(base, tiny_tokens, settings, out=folder / "adapter", context=context)
    asked = EvaluationSettings(max_samples=12)
    out = folder / "evaluation"
    evaluation = evaluate(base, tiny_dataset, tiny_tokens, adapter, asked, out=out, context=context)
    losses = [values["loss"] for _, values in heard.curve if "loss" in values]
    return Tuned(request.param, base, adapter, evaluation, losses, folder)


def test_training_shows_in_the_scores(tuned: Tuned) -> None:
    models = tuned.evaluation.facts["models"]
    assert models["tuned"]["answer_loss"] < 0.75 * models["base"]["answer_loss"]
    assert tuned.losses[-1] < 0.75 * tuned.losses[0]


def test_first_steps_are_those_of_the_plain_path(tuned: Tuned, tiny_tokens: Tokens) -> None:
    heard = Heard()
    context = Context(tuned.folder, tuned.folder, events=heard)
    settings = settings_of(tuned.family, fast=False)
    trainer = prepare(tuned.base, tiny_tokens, settings, context)
    trainer.model.train()
    for number in range(1, 6):
        trainer.step(number)
    plain = [point["loss"] for point in trainer.progress.curve]
    assert tuned.losses[:5] == pytest.approx(plain, abs=1e-4)


def test_the_exported_file_is_the_tuned_model(tuned: Tuned, tiny_tokens: Tokens) -> None:
    context = Context(tuned.folder, tuned.folder / "scratch")
    asked = ExportSettings(variants=("fp32",))
    onnx = export(tuned.base, tuned.adapter, asked, out=tuned.folder / "onnx", context=context)
    settings = VerificationSettings(
        parity_prompts=6, parity_new_tokens=4, speed_prompt_tokens=8, speed_new_tokens=2
    )
    inputs = (tuned.base, tiny_tokens, tuned.adapter, tuned.evaluation, onnx)
    found = verify(*inputs, settings, out=tuned.folder / "verification", context=context)
    assert found.facts["parity"]["passed"], found.facts["parity"]
    ours = found.facts["variants"]["fp32"]["metrics"]
    theirs = tuned.evaluation.facts["models"]["tuned"]
    assert ours["answer_loss"] == pytest.approx(theirs["answer_loss"], abs=1e-3)
    assert ours["accuracy"] == theirs["accuracy"]
