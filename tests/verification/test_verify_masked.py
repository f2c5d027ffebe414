"""Masked-language models from tokens to verified files: the same tokens hidden from everyone."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_encoders import ENCODERS
from made_masked import COUNTS, random_masked, random_masked_adapter, text_tokens, write_masked

from components.contracts.errors import ModelError, RecipeError
from components.contracts.events import Context, Silent
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Champion,
    Evaluation,
    Onnx,
    Tokens,
)
from components.evaluation.kinds import KINDS
from components.evaluation.settings import EvaluationSettings
from components.export.export import export
from components.export.settings import ExportSettings
from components.model.hidden import hidden_in
from components.model.masked import load_merged_masked
from components.model.torch_masked import TorchMasked
from components.runtime.ort_masked import FillModel, OrtMasked
from components.runtime.served import open_served, question_of
from components.scoring.items import Item
from components.scoring.tables import read_items, read_scores
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

pytestmark = pytest.mark.slow

Inputs = tuple[BaseModelFolder, Tokens, Adapter, Evaluation, Onnx]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("verified-masks")
    base = random_masked(folder / "base")
    adapter = random_masked_adapter(base, folder / "adapter")
    files = exported(folder, base, adapter, "fp32", "int8")
    with Evaluation.write(folder / "evaluation") as draft:
        draft.facts = {"items": {"split": "test", "limit": None, "texts": None}}
    evaluation = Evaluation.open(folder / "evaluation")
    return base, text_tokens(folder / "tokens"), adapter, evaluation, files


def exported(folder: Path, base: BaseModelFolder, adapter: Adapter, *variants: Any) -> Onnx:
    settings = ExportSettings(variants=variants)
    context = Context(folder, folder / "scratch")
    return export(base, adapter, settings, out=folder / "onnx", context=context)


def test_the_same_tokens_are_hidden_from_every_model(inputs: Inputs) -> None:
    tokens = inputs[1]
    items = read_items(tokens, "test", None)
    hidden = hidden_in(items, tokens.facts)
    assert hidden == hidden_in(items, tokens.facts)
    assert hidden[:5] == hidden_in(items[:5], tokens.facts)
    assert all(one is not None and len(one.places) for one in hidden)


def test_files_tell_the_hidden_tokens_that_torch_tells(inputs: Inputs, tmp_path: Path) -> None:
    base, tokens, adapter, _, files = inputs
    context = Context(tmp_path, tmp_path / "scratch")
    with Champion.write(tmp_path / "champion") as draft:
        shutil.copytree(files.variant("int8"), draft.folder / "model")
        draft.facts = {"there": True, "name": "masks"}
    found = verify(
        *inputs,
        VerificationSettings(speed_repeats=1),
        out=tmp_path / "verification",
        context=context,
        champion=Champion.open(tmp_path / "champion"),
    )
    parity = found.facts["parity"]
    assert parity["passed"], parity
    assert parity["identical_greedy"] == parity["prompts"] >= COUNTS["test"]
    assert parity["compared"] == "hidden tokens"
    told = found.facts["variants"]["fp32"]["metrics"]
    assert found.facts["champion"]["metrics"] == found.facts["variants"]["int8"]["metrics"]
    items = read_items(tokens, "test", None)
    kind = KINDS["MASKED_LM"]
    model = TorchMasked(load_merged_masked(base.model, adapter.model)[0])
    expected = kind.score(model, items, tokens, Silent(), "torch")
    for score, other in zip(read_scores(found.scores("fp32")), expected, strict=True):
        assert score.text_nll == pytest.approx(other.text_nll, abs=1e-3)
        assert (score.text_tokens, score.text_bytes) == (other.text_tokens, other.text_bytes)
        assert score.answer_tokens == 0
    nll = sum(score.text_nll for score in expected)
    count = sum(score.text_tokens for score in expected)
    assert told["perplexity"] == pytest.approx(np.exp(nll / count), rel=1e-4)
    assert told["accuracy"] is None


def test_scores_are_transformers_losses(inputs: Inputs) -> None:
    base, tokens, adapter, *_ = inputs
    items = read_items(tokens, "test", 4)
    merged = load_merged_masked(base.model, adapter.model)[0]
    scores = KINDS["MASKED_LM"].score(TorchMasked(merged), items, tokens, Silent(), "torch")
    for score, one in zip(scores, hidden_in(items, tokens.facts), strict=True):
        assert one is not None
        labels = torch.full((1, len(one.ids)), -100)
        labels[0, list(one.places)] = torch.tensor(one.targets)
        loss = merged(torch.tensor([one.ids]), labels=labels).loss.detach()
        assert score.text_nll == pytest.approx(float(loss) * len(one.targets), rel=1e-5)


def test_an_item_without_text_is_not_read(inputs: Inputs) -> None:
    base, tokens, adapter, *_ = inputs
    bare = Item("a", (), (), (), -1, (), 0)
    model = TorchMasked(load_merged_masked(base.model, adapter.model)[0])
    (score,) = KINDS["MASKED_LM"].score(model, [bare], tokens, Silent(), "torch")
    assert (score.text_tokens, score.text_nll) == (0, 0.0)


def test_a_folder_fills_what_is_hidden(inputs: Inputs, tmp_path: Path) -> None:
    folder = inputs[-1].variant("fp32")
    model = open_served(folder, threads=1)
    assert isinstance(model, FillModel)
    asked = question_of(folder, "a longer word")
    assert asked == "a [MASK] word"
    answer = model.answer(asked)
    assert answer.startswith("a ")
    assert answer.endswith(" word")
    assert "[MASK]" not in answer
    with pytest.raises(ModelError, match=r"write \[MASK\] where"):
        model.answer("nothing hidden")
    with pytest.raises(ModelError, match="do not fit the model's context"):
        list(OrtMasked(folder).token_logits([[1] * 99], [[0]]))
    shutil.copytree(folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not an exported masked-language model"):
        OrtMasked(tmp_path / "other")


def test_tasks_are_refused() -> None:
    settings = EvaluationSettings.model_validate({"tasks": [{"task": "choice"}]})
    with pytest.raises(RecipeError, match=r"names choice.*MASKED_LM"):
        KINDS["MASKED_LM"].check(settings)


@pytest.mark.parametrize("family", ENCODERS)
def test_every_family_is_exported(inputs: Inputs, tmp_path: Path, family: str) -> None:
    base = write_masked(family, tmp_path / "base", inputs[0])
    adapter = random_masked_adapter(base, tmp_path / "adapter")
    files = exported(tmp_path, base, adapter, "fp32")
    rows = [[5, 50, 60, 2], [5, 70, 2], [5, *range(20, 40), 2]]
    places = [[1, 2], [1], [0, 5, 20]]
    ours = dict(OrtMasked(files.variant("fp32")).token_logits(rows, places))
    model = TorchMasked(load_merged_masked(base.model, adapter.model)[0])
    for index, expected in model.token_logits(rows, places):
        np.testing.assert_allclose(ours[index], expected, atol=2e-4)
