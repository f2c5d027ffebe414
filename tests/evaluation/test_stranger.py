"""A champion with another tokenizer is asked the same words in its own tokens.

Here it is the very same model with its vocabulary in another order, so that it must say the same.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_export import write_export

from components.contracts.events import Context
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Champion,
    Dataset,
    Evaluation,
    Onnx,
    Tokens,
    Verification,
)
from components.evaluation.evaluate import evaluate
from components.evaluation.settings import EvaluationSettings
from components.export.settings import ExportSettings
from components.gate.gate import gate
from components.gate.settings import GateSettings
from components.scoring.requests import read_answers
from components.scoring.tables import read_scores
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

pytestmark = pytest.mark.slow
SPECIALS = 3
PROOF = VerificationSettings(
    parity_prompts=2, parity_new_tokens=2, speed_prompt_tokens=8, speed_new_tokens=2
)
TASKS: list[dict[str, Any]] = [
    {"task": "choice", "num_fewshot": 2},
    {"task": "choice", "name": "plain", "apply_chat_template": False},
    {"task": "generation", "max_new_tokens": 4},
    {
        "task": "canary",
        "canaries": [{"prefix": "The PIN is", "secret": "4711"}],
        "alternatives": 9,
    },
]
SETTINGS = EvaluationSettings.model_validate(
    {"max_samples": 12, "perplexity": {"max_length": 32}, "tasks": TASKS}
)


def reorder(base: BaseModelFolder, out: Path) -> BaseModelFolder:
    """Return the model with all tokens but the special ones in reverse order."""
    import torch
    from safetensors.torch import load_file, save_file

    with BaseModelFolder.write(out) as draft:
        folder = draft.folder / "model"
        shutil.copytree(base.model, folder)
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        last = max(vocabulary.values())
        place = {i: i if i < SPECIALS else last + SPECIALS - i for i in range(last + 1)}
        tokenizer["model"]["vocab"] = {word: place[i] for word, i in vocabulary.items()}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        tensors = load_file(folder / "model.safetensors")
        order = torch.tensor([place[i] for i in range(last + 1)])
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            if name in tensors:
                moved = tensors[name].clone()
                moved[order] = tensors[name][: last + 1]
                tensors[name] = moved
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        draft.facts = base.facts
    return BaseModelFolder.open(out)


@pytest.fixture(scope="module")
def stranger(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Champion:
    folder = tmp_path_factory.mktemp("stranger")
    other = reorder(tiny_base, folder / "base")
    onnx = write_export(other, tiny_adapter, folder, ExportSettings(variants=("fp32",)))
    with Champion.write(folder / "champion") as draft:
        shutil.copytree(onnx.variant("fp32"), draft.folder / "model")
        draft.facts = {"there": True, "name": "line", "sha256": "0" * 64}
    return Champion.open(folder / "champion")


@pytest.fixture(scope="module")
def evaluation(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    tmp_path_factory: pytest.TempPathFactory,
) -> Evaluation:
    folder = tmp_path_factory.mktemp("asked")
    inputs = (tiny_base, dataset, tokens, tiny_adapter)
    return evaluate(*inputs, SETTINGS, out=folder / "evaluation", context=Context(folder, folder))


@pytest.fixture(scope="module")
def verification(
    tiny_base: BaseModelFolder,
    tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    stranger: Champion,
    tmp_path_factory: pytest.TempPathFactory,
) -> Verification:
    folder = tmp_path_factory.mktemp("compared")
    inputs = (tiny_base, tokens, tiny_adapter, evaluation, tiny_onnx)
    context = Context(folder, folder)
    return verify(*inputs, PROOF, out=folder / "verification", context=context, champion=stranger)


def test_the_tokens_are_really_others(stranger: Champion, tiny_onnx: Onnx) -> None:
    files = [f / "tokenizer.json" for f in (stranger.model, tiny_onnx.variant("fp32"))]
    ours, theirs = (json.loads(f.read_text())["model"]["vocab"] for f in files)
    assert ours.keys() == theirs.keys()
    assert sum(ours[word] != theirs[word] for word in ours) > 200


def test_held_out_rows_are_answered_alike(verification: Verification) -> None:
    facts = verification.facts["champion"]
    assert (facts["compared"], facts["own_tokens"]) == (True, True)
    wanted = verification.facts["variants"]["fp32"]["metrics"]
    for name in ("accuracy", "exact_match", "bits_per_byte"):
        assert facts["metrics"][name] == pytest.approx(wanted[name], rel=1e-4), name
    assert facts["metrics"]["perplexity"] is None, "per token: of another length"
    assert facts["metrics"]["answer_perplexity"] is None
    scores = zip(
        read_scores(verification.scores("champion")),
        read_scores(verification.scores("fp32")),
        strict=True,
    )
    for ours, theirs in scores:
        assert ours.choice_logprobs == pytest.approx(theirs.choice_logprobs, abs=1e-3)
        assert (ours.right, ours.greedy) == (theirs.right, theirs.greedy)


def test_tasks_are_answered_alike(verification: Verification) -> None:
    found = verification.facts["comparisons"]["fp32 against champion"]
    assert [one["task"] for one in found] == [
        "perplexity",
        "choice",
        "plain",
        "generation",
        "canary",
    ]
    assert all(one["p"] == 1.0 for one in found), found
    for name in ("choice", "plain", "canary"):
        files = [verification.path / "tasks" / name / f"{m}.parquet" for m in ("champion", "fp32")]
        for ours, theirs in zip(*map(read_answers, files), strict=True):
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
    files = [verification.path / f"tasks/generation/{m}.parquet" for m in ("champion", "fp32")]
    said, wanted = ([one.text for one in read_answers(file)] for file in files)
    assert said == wanted


def test_the_gate_compares_what_is_comparable(
    evaluation: Evaluation, verification: Verification, tmp_path: Path
) -> None:
    settings = GateSettings(ship="fp32", min_items=1, champion={"max_accuracy_loss": 0.5})  # type: ignore[arg-type]
    context = Context(tmp_path, tmp_path)
    verdict = gate(evaluation, verification, settings, out=tmp_path / "verdict", context=context)
    (reason,) = [r for r in verdict.facts["reasons"] if r["check"] == "not_worse_than_champion"]
    assert reason["passed"]
    assert "with its own tokenizer" in reason["text"]
