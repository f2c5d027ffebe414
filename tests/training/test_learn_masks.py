"""Masked-language models: masks by seed, epoch and row, transformers' loss, exact going on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_masked import MASK, SPECIAL, random_masked, text_tokens

from components.contracts.errors import ModelError, RecipeError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.model.masked import load_masked, load_merged_masked
from components.model.masking import Masking
from components.training.forecast import forecast
from components.training.learn_masks import hidden_loss, pad_texts
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_masked(tmp_path_factory.mktemp("masked") / "base")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return text_tokens(tmp_path_factory.mktemp("texts") / "tokens")


def settings_of(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {"learning_rate": 1e-2, "warmup_steps": 2, "bf16": False, "lora_r": 4}
    values |= {"num_train_epochs": 3, "per_device_train_batch_size": 10}
    return TrainingSettings(**{**values, **changes})


def context(folder: Path, heard: Heard | None = None) -> Context:
    return Context(folder, folder, events=heard or Heard())


def test_a_mask_is_told_by_seed_epoch_and_row_and_has_the_right_shares() -> None:
    masking = Masking(MASK, 261, SPECIAL)
    ids = np.array([1, *np.arange(20, 250).repeat(40), 2])
    read, labels = masking.hide(ids, 7, 0, 3)
    np.testing.assert_array_equal(read, masking.hide(ids, 7, 0, 3)[0])
    for other in ((8, 0, 3), (7, 1, 3), (7, 0, 4)):
        assert (masking.hide(ids, *other)[1] != labels).any()
    asked = labels != IGNORED
    assert not asked[[0, -1]].any()
    np.testing.assert_array_equal(labels[asked], ids[asked])
    np.testing.assert_array_equal(read[~asked], ids[~asked])
    assert asked.mean() == pytest.approx(0.15, abs=0.015)
    assert (read[asked] == MASK).mean() == pytest.approx(0.8, abs=0.04)
    assert (read[asked] == ids[asked]).mean() == pytest.approx(0.1, abs=0.03)
    assert Masking(MASK, 261, SPECIAL, 0.01).hide(np.array([1, 20, 2]), 0)[1].tolist() == [
        IGNORED,
        20,
        IGNORED,
    ]
    assert (Masking(MASK, 261, SPECIAL).hide(np.array([1, 2]), 0)[1] == IGNORED).all()


def test_every_epoch_hides_other_tokens_of_a_row(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    trainer = prepare(bert, tokens, settings_of(), context(tmp_path))
    seen = [row for step in trainer.plan for batch in step for row in batch]
    assert sorted(seen) == list(range(3 * len(trainer.rows)))
    count = len(trainer.rows)
    labels = np.array(
        [trainer.rows[row + count * epoch].labels for epoch in range(3) for row in [0]]
    )
    assert len({row.tobytes() for row in labels}) > 1
    again = prepare(bert, tokens, settings_of(), context(tmp_path))
    assert all(
        np.array_equal(trainer.rows[row].input_ids, again.rows[row].input_ids) for row in seen
    )
    assert len(list(trainer.rows)) == count


@pytest.mark.slow
def test_it_learns_and_peft_reads_the_folder_by_itself(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForMaskedLM

    heard = Heard()
    settings = settings_of(num_train_epochs=8)
    adapter: Adapter = train(
        bert, tokens, settings, out=tmp_path / "adapter", context=context(tmp_path, heard)
    )
    losses = [values["loss"] for _, values in heard.curve if "loss" in values]
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    model = PeftModel.from_pretrained(
        AutoModelForMaskedLM.from_pretrained(bert.model), adapter.model
    ).eval()
    ours, _ = load_merged_masked(bert.model, adapter.model)
    ids = torch.tensor([[1, 20, 20, MASK, 2]])
    with torch.no_grad():
        np.testing.assert_allclose(ours(ids).logits, model(input_ids=ids).logits, atol=1e-4)


def test_the_loss_is_that_of_transformers_and_padding_adds_nothing(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    trainer = prepare(bert, tokens, settings_of(), context(tmp_path))
    model = load_masked(bert.model).eval()
    rows: Any = trainer.rows[:9]
    expected = 0.0
    for row in rows:
        ids, labels = torch.tensor(row.input_ids)[None], torch.tensor(row.labels)[None]
        loss = model(input_ids=ids, labels=labels).loss.detach()
        expected += float(loss) * row.trained
    found = hidden_loss(model, pad_texts(rows, 0, CPU), torch.float32)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_accumulated_batches_are_one_batch(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    losses = []
    for size, steps in ((20, 1), (5, 4)):
        settings = settings_of(
            per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=2
        )
        trainer = prepare(bert, tokens, settings, context(tmp_path))
        trainer.plan = [[tuple(range(20))[i : i + size] for i in range(0, 20, size)]]
        trainer.model.eval()  # no dropout: its masks differ between the two
        trainer.step(1)
        losses.append(trainer.progress.curve[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_interrupted_run_goes_on_bit_for_bit(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    found = verify_resume(bert, tokens, settings_of(), steps=6, context=context(tmp_path))
    assert found.equal, found.verdict
    told = forecast(bert, tokens, settings_of(), runtime=0)
    assert told.rows == 60
    assert told.tokens == 3 * told.tokens_an_epoch


def test_what_does_not_fit_is_refused(
    bert: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"packing: not for model\.task_type MASKED_LM"):
        prepare(bert, tokens, settings_of(packing=True), context(tmp_path))
    with pytest.raises(ValueError, match="together more than 1"):
        settings_of(mask_replace_prob=0.8, random_replace_prob=0.3)
    from made_encoders import random_bert

    headless = random_bert(tmp_path / "headless")
    with pytest.raises(ModelError, match=r"the checkpoint has no cls\.predictions"):
        load_masked(headless.model)
