"""A classifier's files against torch, and against the classifier that is in use."""

import json
import shutil
from pathlib import Path

import pytest
from made_encoders import LABELS, labelled_tokens, random_bert
from made_random_classifier import random_classifier

from components.contracts.events import Context
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Champion,
    Evaluation,
    Onnx,
    Tokens,
    Verification,
)
from components.export.export import export
from components.export.settings import ExportSettings
from components.scoring.tables import read_scores
from components.verification.settings import VerificationSettings
from components.verification.verify import SPEED, verify

Inputs = tuple[BaseModelFolder, Tokens, Adapter, Evaluation, Onnx]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("verified-labels")
    base = random_bert(folder / "base")
    adapter = random_classifier(base, folder / "adapter")
    context = Context(folder, folder / "scratch")
    settings = ExportSettings(variants=("fp32", "int8"))
    files = export(base, adapter, settings, out=folder / "onnx", context=context)
    with Evaluation.write(folder / "evaluation") as draft:
        draft.facts = {"items": {"split": "test", "limit": None, "texts": None}}
    evaluation = Evaluation.open(folder / "evaluation")
    return base, labelled_tokens(folder / "tokens"), adapter, evaluation, files


def verified(inputs: Inputs, folder: Path, in_use: Path | None = None) -> Verification:
    champion = None if in_use is None else as_champion(in_use, folder / "champion")
    context = Context(folder, folder / "scratch")
    settings = VerificationSettings(speed_repeats=1)
    out = folder / "verification"
    return verify(*inputs, settings, out=out, context=context, champion=champion)


def as_champion(files: Path, folder: Path) -> Champion:
    with Champion.write(folder) as draft:
        shutil.copytree(files, draft.folder / "model")
        draft.facts = {"there": True, "name": "labels"}
    return Champion.open(folder)


def relabelled(file: Path, folder: Path, labels: list[str]) -> Path:
    """Copy an exported folder and give its labels other names."""
    shutil.copytree(file, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(index): label for index, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_files_are_held_against_torch_on_every_text(inputs: Inputs, tmp_path: Path) -> None:
    found = verified(inputs, tmp_path)
    parity = found.facts["parity"]
    assert parity["passed"]
    assert parity["identical_greedy"] == parity["prompts"] == found.facts["items"] == 21
    for name in ("fp32", "int8"):
        told = found.facts["variants"][name]
        assert told["metrics"]["items"] == len(read_scores(found.scores(name))) == 21
        assert told["bytes"] == inputs[-1].facts["variants"][name]["bytes"]
    speeds = json.loads((tmp_path / "scratch" / SPEED).read_text())
    assert sorted(speeds) == ["fp32", "int8", "torch"]
    assert "champion" not in found.facts


def test_the_champion_labels_the_same_texts(inputs: Inputs, tmp_path: Path) -> None:
    champion = inputs[-1].variant("int8")
    found = verified(inputs, tmp_path, champion)
    told = found.facts["champion"]
    assert told["compared"]
    assert told["metrics"] == found.facts["variants"]["int8"]["metrics"]
    assert read_scores(found.scores("champion")) == read_scores(found.scores("int8"))


def test_a_champion_with_other_labels_is_not_compared(inputs: Inputs, tmp_path: Path) -> None:
    other = relabelled(inputs[-1].variant("fp32"), tmp_path / "other", [*LABELS[:2], "bad"])
    told = verified(inputs, tmp_path, other).facts["champion"]
    assert told["compared"] is False
    assert told["reason"] == "the champion gives the labels good, fair, bad"
    (tmp_path / "other" / "tokenizer.json").write_text("{}")
    told = verified(inputs, tmp_path, other).facts["champion"]
    assert "another tokenizer" in told["reason"]
