"""An encoder-decoder's files against torch, and against the one that is in use."""

import json
import shutil
from pathlib import Path

import pytest
from made_seq2seq import COUNTS, Exported, pair_tokens

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
from components.scoring.tables import read_scores
from components.verification.settings import VerificationSettings
from components.verification.verify import SPEED, verify

pytestmark = pytest.mark.slow

Inputs = tuple[BaseModelFolder, Tokens, Adapter, Evaluation, Onnx]


@pytest.fixture(scope="module")
def inputs(tiny_seq2seq: Exported, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("verified-pairs")
    base, adapter, files = tiny_seq2seq
    with Evaluation.write(folder / "evaluation") as draft:
        draft.facts = {"items": {"split": "test", "limit": None, "texts": None}}
    evaluation = Evaluation.open(folder / "evaluation")
    return base, pair_tokens(folder / "tokens"), adapter, evaluation, files


def verified(inputs: Inputs, folder: Path, champion: Champion | None = None) -> Verification:
    settings = VerificationSettings(
        parity_prompts=6, parity_new_tokens=4, speed_repeats=1, speed_seconds=0.01
    )
    context = Context(folder, folder / "scratch")
    return verify(
        *inputs, settings, out=folder / "verification", context=context, champion=champion
    )


def as_champion(files: Path, folder: Path) -> Champion:
    with Champion.write(folder) as draft:
        shutil.copytree(files, draft.folder / "model")
        draft.facts = {"there": True, "name": "pairs"}
    return Champion.open(folder)


def test_files_write_what_torch_writes(inputs: Inputs, tmp_path: Path) -> None:
    found = verified(inputs, tmp_path)
    parity = found.facts["parity"]
    assert parity["passed"], parity
    assert parity["identical_greedy"] == parity["prompts"] == 6
    assert parity["max_logit_difference"] < 1e-4
    for name in ("fp32", "int8", "int4"):
        told = found.facts["variants"][name]
        assert told["metrics"]["items"] == len(read_scores(found.scores(name))) == COUNTS["test"]
        assert told["metrics"]["answer_perplexity"] > 1
        assert told["metrics"]["perplexity"] is None
    assert 0 < found.facts["variants"]["int8"]["agreement"]["mean_logit_difference"] < 0.2
    speeds = json.loads((tmp_path / "scratch" / SPEED).read_text())
    assert sorted(speeds) == ["fp32", "int4", "int8", "torch"]


def test_the_champion_answers_the_same_sources(inputs: Inputs, tmp_path: Path) -> None:
    champion = as_champion(inputs[-1].variant("int8"), tmp_path / "champion")
    # Other bytes, so that it is asked and not recognised.
    note = champion.model / "generation_config.json"
    note.write_text(note.read_text() + "\n")
    with Champion.write(tmp_path / "other") as draft:
        shutil.copytree(champion.model, draft.folder / "model")
        draft.facts = champion.facts
    found = verified(inputs, tmp_path, Champion.open(tmp_path / "other"))
    told = found.facts["champion"]
    assert told["compared"]
    assert told["own_tokens"] is False
    assert told["metrics"] == found.facts["variants"]["int8"]["metrics"]
