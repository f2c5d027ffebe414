"""Classifiers and encoder-decoders in a real MLflow store: registered, loaded back, asked."""

import json
from pathlib import Path

import pytest
from made_encoders import LABELS, random_bert
from made_masked import random_masked, random_masked_adapter
from made_random_classifier import random_classifier
from made_seq2seq import Exported
from test_register import predict_elsewhere, run_register
from toy_project import Toy

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.export.export import export
from components.export.settings import ExportSettings
from components.runtime.served import open_served

pytestmark = pytest.mark.slow


def exported(folder: Path, base: BaseModelFolder, adapter: Adapter) -> Onnx:
    settings = ExportSettings(variants=("fp32",))
    context = Context(folder, folder / "scratch")
    return export(base, adapter, settings, out=folder / "onnx", context=context)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Onnx:
    folder = tmp_path_factory.mktemp("classifier")
    base = random_bert(folder / "base")
    return exported(folder, base, random_classifier(base, folder / "adapter"))


def test_a_classifier_comes_back_and_gives_its_labels(
    toy_here: Toy, classifier: Onnx, tmp_path: Path
) -> None:
    import mlflow

    from flows.registry_alias import champion

    run_register(toy_here, classifier, promote=True)
    assert champion("toy-model") == "1"
    model = mlflow.pyfunc.load_model("models:/toy-model@champion")
    texts = ["What a day!", "no", "x" * 40]
    answers = model.predict([{"text": text} for text in texts])
    alone = open_served(classifier.variant("fp32"))
    assert answers == [alone.answer(text) for text in texts]
    assert set(answers) <= set(LABELS)
    assert predict_elsewhere(toy_here, tmp_path, "models:/toy-model/1") == answers[:1]


def test_a_masked_model_comes_back_and_fills_what_is_hidden(toy_here: Toy, tmp_path: Path) -> None:
    import mlflow

    base = random_masked(tmp_path / "base")
    files = exported(tmp_path, base, random_masked_adapter(base, tmp_path / "adapter"))
    run_register(toy_here, files, promote=True)
    model = mlflow.pyfunc.load_model("models:/toy-model@champion")
    asked = "What a [MASK]!"
    assert model.predict([{"text": asked}]) == [open_served(files.variant("fp32")).answer(asked)]


def test_an_encoder_decoder_comes_back_and_is_asked_at_the_terminal(
    toy_here: Toy, tiny_seq2seq: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    from flows.batch_predict import batch_predict
    from flows.model_ref import find_model
    from flows.talk import generate

    seq2seq = tiny_seq2seq[-1]
    run_register(toy_here, seq2seq, promote=True)
    model = mlflow.pyfunc.load_model("models:/toy-model@champion")
    there = model.predict([{"text": "What a day!", "max_new_tokens": 4}])
    found = find_model(toy_here.root, "toy-model@champion")
    turns = found.shape.ask("What a day!")
    alone = open_served(seq2seq.variant("fp32"))
    assert there == [alone.answer(turns, max_new_tokens=4)]
    generate("toy-model", "What a day!", max_new_tokens=4)
    assert capsys.readouterr().out == f"{there[0]}\n"
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "What a day!"}) + "\n", encoding="utf-8")
    batch_predict(rows, tmp_path / "out.jsonl", model="toy-model", labels=False, max_new_tokens=4)
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["answer"] == there[0]
    batch_predict(rows, tmp_path / "labels.jsonl", model="toy-model")
    (line,) = (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum(json.loads(line)["probabilities"].values()) == pytest.approx(1, abs=1e-5)
