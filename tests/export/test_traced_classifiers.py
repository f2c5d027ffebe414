"""Encoders of every family that may be exported: the file's logits, labels and int8 weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_encoders import ENCODERS, LABELS, random_bert, write_encoder
from made_random_classifier import random_classifier

from components.contracts import task_types
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Onnx
from components.export.export import export
from components.export.settings import ExportSettings
from components.model.classifier import load_merged_classifier
from components.model.torch_classifier import TorchClassifier
from components.runtime.ort import OrtLM
from components.runtime.ort_classifier import LabelModel, OrtClassifier
from components.runtime.served import open_served
from components.runtime.text import TextModel

ROWS = [[1, 50, 60, 2], [1, 70, 2], [1, *range(20, 40), 2], [1, 51, 61, 2]]


def families() -> list[Any]:
    slow = (pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS if name != "bert")
    return ["bert", *slow]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_bert(tmp_path_factory.mktemp("bert") / "base")


@pytest.fixture(scope="module", params=families())
def exported(
    request: pytest.FixtureRequest,
    bert: BaseModelFolder,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Onnx, TorchClassifier]:
    folder = tmp_path_factory.mktemp("classifier")
    base = write_encoder(request.param, folder / "base", bert)
    adapter = random_classifier(base, folder / "adapter")
    settings = ExportSettings(variants=("fp32", "int8", "int4"))
    context = Context(folder, folder / "scratch")
    out = export(base, adapter, settings, out=folder / "onnx", context=context)
    return out, TorchClassifier(load_merged_classifier(base.model, adapter.model, LABELS)[0])


def logits(model: Any) -> np.ndarray:
    found = dict(model.label_logits(ROWS))
    return np.stack([found[index] for index in range(len(ROWS))])


def test_every_family_named_is_tested() -> None:
    assert sorted(ENCODERS) == sorted(task_types.ENCODERS)


def test_the_fp32_file_gives_the_logits_of_torch(exported: tuple[Onnx, TorchClassifier]) -> None:
    model = OrtClassifier(exported[0].variant("fp32"), threads=1)
    assert model.labels == tuple(LABELS)
    np.testing.assert_allclose(logits(model), logits(exported[1]), atol=1e-4)


def test_a_text_has_the_same_logits_alone_and_beside_longer_ones(
    exported: tuple[Onnx, TorchClassifier],
) -> None:
    model = OrtClassifier(exported[0].variant("fp32"), threads=1)
    alone = [next(model.label_logits([row]))[1] for row in ROWS]
    np.testing.assert_allclose(logits(model), np.stack(alone), atol=1e-5)


def test_rounded_weights_stay_near(exported: tuple[Onnx, TorchClassifier]) -> None:
    expected = logits(exported[1])
    off = {
        name: float(np.abs(logits(OrtClassifier(exported[0].variant(name))) - expected).max())
        for name in ("int8", "int4")
    }
    assert 0 < off["int8"] < off["int4"]
    assert off["int8"] < 0.25 * np.abs(expected).max()
    facts = exported[0].facts["variants"]
    assert facts["int8"]["bytes"] < facts["fp32"]["bytes"]


def test_too_long_a_text_is_refused_where_it_is_scored_and_cut_where_it_is_served(
    exported: tuple[Onnx, TorchClassifier],
) -> None:
    folder = exported[0].variant("fp32")
    with pytest.raises(ModelError, match="do not fit the model's context"):
        list(OrtClassifier(folder).label_logits([[1] * 99]))
    model = open_served(folder, threads=1)
    assert isinstance(model, LabelModel)
    assert model.answer("word " * 99) in LABELS
    with pytest.raises(ModelError, match="holds a classifier"):
        OrtLM(folder)
    shares = model.probabilities(["a word", "another word"])
    assert [sum(share.values()) for share in shares] == pytest.approx([1, 1])
    with pytest.raises(ModelError, match="no turn is the user's"):
        model.answer([{"role": "system", "content": "?"}])


def test_a_folder_that_is_no_classifier_is_refused(tiny_onnx: Onnx, tmp_path: Path) -> None:
    assert isinstance(open_served(tiny_onnx.variant("fp32")), TextModel)
    with pytest.raises(ModelError, match="is not an exported classifier: its inputs are"):
        OrtClassifier(tiny_onnx.variant("fp32"))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a"}}))
    with pytest.raises(ModelError, match="ONNX Runtime cannot open"):
        OrtClassifier(tmp_path)
