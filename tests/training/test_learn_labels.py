"""An encoder and its head: the right loss, a standard peft folder, exact going on, the forecast."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_encoders import LABELS, labelled_tokens, random_bert, write_encoder

from components.contracts.errors import RecipeError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.model.classifier import load_classifier, load_merged_classifier
from components.model.torch_classifier import TorchClassifier
from components.training.forecast import forecast
from components.training.learn_labels import label_loss, pad_labelled, read_labelled
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_bert(tmp_path_factory.mktemp("bert") / "base")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return labelled_tokens(tmp_path_factory.mktemp("labelled") / "tokens")


def settings_of(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {"learning_rate": 5e-3, "warmup_steps": 2, "bf16": False, "lora_r": 4}
    values |= {"num_train_epochs": 8, "per_device_train_batch_size": 10}
    return TrainingSettings(**{**values, **changes})


@pytest.fixture(scope="module", params=["lora", "full"])
def trained(
    request: pytest.FixtureRequest,
    bert: BaseModelFolder,
    tokens: Tokens,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Adapter, Heard]:
    folder, heard = tmp_path_factory.mktemp("trained"), Heard()
    rate = 5e-3 if request.param == "lora" else 1e-3
    settings = settings_of(finetuning_type=request.param, learning_rate=rate)
    context = Context(folder, folder, events=heard)
    return train(bert, tokens, settings, out=folder / "adapter", context=context), heard


def test_it_learns_and_says_what_was_new(trained: tuple[Adapter, Heard]) -> None:
    adapter, heard = trained
    losses = [values["loss"] for _, values in heard.curve]
    assert losses[0] == pytest.approx(np.log(3), abs=0.5)
    assert losses[-1] < 0.6 * losses[0]
    assert adapter.facts["labels"] == LABELS
    assert adapter.facts["new_modules"] == ["classifier"]


def test_transformers_and_peft_read_the_folder_by_themselves(
    trained: tuple[Adapter, Heard], bert: BaseModelFolder, tokens: Tokens
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    adapter = trained[0]
    rows = [row.input_ids.tolist() for row in read_labelled(tokens.split("test"))]
    ours, _ = load_merged_classifier(bert.model, adapter.model, LABELS)
    found = dict(TorchClassifier(ours).label_logits(rows))
    if (adapter.model / "adapter_config.json").is_file():
        # Its head is in the folder: that the base's is random makes no difference.
        torch.manual_seed(99)
        plain = AutoModelForSequenceClassification.from_pretrained(bert.model, num_labels=3)
        model = PeftModel.from_pretrained(plain, adapter.model).eval()
    else:
        model = AutoModelForSequenceClassification.from_pretrained(adapter.model).eval()
        assert model.config.id2label == dict(enumerate(LABELS))
    for index, ids in enumerate(rows):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids])).logits[0].numpy()
        np.testing.assert_allclose(found[index], expected, atol=1e-4)


def test_the_loss_is_that_of_transformers_and_padding_adds_nothing(
    bert: BaseModelFolder, tokens: Tokens
) -> None:
    model = load_classifier(bert.model, LABELS).model.eval()
    rows = read_labelled(tokens.split("train"))[:9]
    expected = 0.0
    for row in rows:
        ids, target = torch.tensor(row.input_ids)[None], torch.tensor([row.target])
        expected += float(model(input_ids=ids, labels=target).loss.detach())
    found = label_loss(model, pad_labelled(rows, 0, CPU), torch.float32)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_new_head_is_always_the_same_and_leaves_the_random_state(bert: BaseModelFolder) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = load_classifier(bert.model, LABELS).model.state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    second = load_classifier(bert.model, LABELS).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_all_that_is_new_is_trained_whole_and_saved(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    base = write_encoder("distilbert", tmp_path / "base", bert)
    settings = settings_of(num_train_epochs=1)
    context = Context(tmp_path, tmp_path, events=Heard())
    trainer = prepare(base, tokens, settings, context)
    whole = {name for name in trainer.trainable if "lora_" not in name}
    assert {name.split(".modules_to_save")[0].rpartition(".")[2] for name in whole} == {
        "classifier",
        "pre_classifier",
    }
    trainer.model.train()
    trainer.step(1)
    assert trainer.progress.step == 1


def test_accumulated_batches_are_one_batch(bert: BaseModelFolder, tokens: Tokens) -> None:
    losses = []
    for size, steps in ((20, 1), (5, 4)):
        settings = settings_of(
            per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=2
        )
        heard = Heard()
        trainer = prepare(bert, tokens, settings, Context(Path(), Path(), events=heard))
        trainer.plan = [[tuple(range(20))[i : i + size] for i in range(0, 20, size)]]
        trainer.model.eval()  # no dropout: its masks differ between the two
        trainer.step(1)
        losses.append(trainer.progress.curve[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_run_that_was_cut_off_ends_the_same(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    settings = settings_of(num_train_epochs=2, eval_steps=4, save_steps=3)
    context = Context(tmp_path, tmp_path, events=Heard())
    certificate = verify_resume(bert, tokens, settings, steps=8, context=context)
    assert certificate.equal, certificate.verdict


def test_the_forecast_counts_the_very_model(bert: BaseModelFolder, tokens: Tokens) -> None:
    settings = settings_of()
    told = forecast(bert, tokens, settings, runtime=0)
    trainer = prepare(bert, tokens, settings, Context(Path(), Path(), events=Heard()))
    assert told.parameters == sum(p.numel() for p in trainer.model.parameters())
    assert told.trainable_parameters == sum(p.numel() for p in trainer.trainable.values())
    assert (told.rows, told.steps) == (60, 48)
    assert told.memory.activations > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"packing": True}, "training.packing"),
        ({"load_in_4bit": True}, "training.load_in_4bit"),
        ({"loss_type": "sigmoid", "lora_top_layers": 1}, "training.lora_top_layers"),
    ],
)
def test_what_is_for_decoders_is_refused(
    bert: BaseModelFolder, tokens: Tokens, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(RecipeError, match=named) as caught:
        prepare(bert, tokens, settings_of(**changes), Context(Path(), Path(), events=Heard()))
    assert "CAUSAL_LM" in str(caught.value)
