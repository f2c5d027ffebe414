"""Tasks of a recipe: base, tuned and every exported file answer the same items."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.contracts.events import Context, Heard
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
from components.scoring.requests import read_answers, read_requests
from components.scoring.tables import read_scores
from components.scoring.voice import load_voice
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

TASKS: list[dict[str, Any]] = [
    {"task": "choice", "base_num_fewshot": 2},
    {"task": "choice", "name": "plain", "num_fewshot": 3, "apply_chat_template": False},
    {"task": "generation", "max_new_tokens": 5, "stop": ["\n"], "extract": "[a-z]+"},
    {"task": "question_answering", "name": "qa", "dataset_path": "qa.jsonl", "max_new_tokens": 4},
    {"task": "summarization", "max_new_tokens": 4, "max_samples": 6},
    {"task": "translation", "max_new_tokens": 4, "max_samples": 6},
    {
        "task": "code",
        "dataset_path": "code.jsonl",
        "confirm_run_unsafe_code": True,
        "max_new_tokens": 4,
    },
    {"task": "perplexity", "name": "stories", "dataset_path": "stories.jsonl", "max_length": 64},
    {"task": "lm_eval", "name": "local", "include_path": "lm_eval", "limit": 8},
]
SETTINGS = EvaluationSettings.model_validate(
    {"max_samples": 12, "perplexity": {"max_length": 32, "stride": 16}, "tasks": TASKS}
)
PROOF = VerificationSettings(
    parity_prompts=2, parity_new_tokens=2, speed_prompt_tokens=8, speed_new_tokens=2
)
NAMES = [
    "perplexity",
    "choice",
    "plain",
    "generation",
    "qa",
    "summarization",
    "translation",
    "code",
    "stories",
    "local",
]


def champion_of(folder: Path, out: Path, **changed: str) -> Champion:
    """Return an exported folder as the champion, with other contents of the named files."""
    with Champion.write(out) as draft:
        shutil.copytree(folder, draft.folder / "model")
        for name, text in changed.items():
            (draft.folder / "model" / f"{name}.json").write_text(text)
        draft.facts = {"there": True, "name": "line", "sha256": "0" * 64}
    return Champion.open(out)


@pytest.fixture(scope="module")
def heard(root: Path) -> Context:
    return Context(root=root, scratch=root / "scratch", events=Heard())


@pytest.fixture(scope="module")
def evaluation(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    heard: Context,
) -> Evaluation:
    inputs = (tiny_base, dataset, tokens, tiny_adapter)
    return evaluate(*inputs, SETTINGS, out=heard.root / "evaluation", context=heard)


@pytest.fixture(scope="module")
def verification(
    tiny_base: BaseModelFolder,
    tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    heard: Context,
) -> Verification:
    inputs = (tiny_base, tokens, tiny_adapter, evaluation, tiny_onnx)
    return verify(*inputs, PROOF, out=heard.root / "verification", context=heard)


def test_every_task_has_figures_with_intervals(evaluation: Evaluation) -> None:
    tasks = evaluation.facts["tasks"]
    assert sorted(tasks) == sorted(NAMES)
    for name, facts in tasks.items():
        for model in ("base", "tuned"):
            found = facts["models"][model]
            assert set(facts["plan"]["measures"]) <= set(found), name
            for measure in facts["plan"]["measures"]:
                low, high = found[measure]["interval"]
                assert low - 1e-9 <= found[measure]["value"] <= high + 1e-9, (name, measure)
        assert facts["plan"]["version"] >= 1
    assert sorted(tasks["choice"]["models"]) == ["base", "base_fewshot", "tuned"]


def test_weighing_labels_again_gives_the_same_answers(evaluation: Evaluation) -> None:
    """The choice task and the scores of the same rows are one measurement made in two ways."""
    for model in ("base", "tuned"):
        scores = {score.id: score for score in read_scores(evaluation.scores(model))}
        for answer in read_answers(evaluation.tasks / "choice" / f"{model}.parquet"):
            expected = scores[answer.id].choice_logprobs
            assert answer.logprobs == pytest.approx(expected, abs=1e-4)
            assert answer.marks["acc"][0] == scores[answer.id].right


def test_programs_are_run(evaluation: Evaluation) -> None:
    for model in ("base", "tuned"):
        answers = read_answers(evaluation.tasks / "code" / f"{model}.parquet")
        marks = {one.id: (one.marks["pass@1"][0], one.text) for one in answers}
        assert marks["hard"][0] == 0.0
        # What a model writes behind "#" is a comment, if it stays on its line.
        if len(marks["easy"][1].splitlines()) <= 1 and "\0" not in marks["easy"][1]:
            assert marks["easy"][0] == 1.0


def test_files_answer_the_very_same_requests(
    evaluation: Evaluation, verification: Verification
) -> None:
    assert sorted(verification.facts["variants"]) == ["fp32", "int4", "int8"]
    for name in NAMES:
        torch = read_answers(evaluation.tasks / name / "tuned.parquet")
        for variant, facts in verification.facts["variants"].items():
            file = read_answers(verification.path / "tasks" / name / f"{variant}.parquet")
            assert [a.id for a in file] == [a.id for a in torch]
            assert name in facts["tasks"]
        exact = read_answers(verification.path / "tasks" / name / "fp32.parquet")
        assert [a.text for a in exact] == [a.text for a in torch], name
        for one, other in zip(exact, torch, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
            for measure in one.marks:
                assert one.marks[measure] == pytest.approx(other.marks[measure], rel=1e-4, abs=1e-3)


def test_comparisons_are_paired_and_told_in_words(
    evaluation: Evaluation, verification: Verification
) -> None:
    first = evaluation.facts["comparisons"]
    assert list(first) == ["tuned against base", "tuned against base_fewshot"]
    assert [one["task"] for one in first["tuned against base"]] == NAMES
    assert [one["task"] for one in first["tuned against base_fewshot"]] == ["choice"]
    files = verification.facts["comparisons"]
    assert {f"{v} against {r}" for v in ("fp32", "int8", "int4") for r in ("base", "tuned")} < set(
        files
    )
    for one in files["fp32 against tuned"]:
        assert one["outcome"] == "no difference shown"
        assert "could show" in one["words"]
        assert one["p_holm"] >= one["p"]
    tests = {one["task"]: one["test"] for one in first["tuned against base"]}
    assert (tests["choice"], tests["local"], tests["code"]) == ("mcnemar",) * 3
    assert (tests["perplexity"], tests["translation"]) == ("bootstrap",) * 2


@pytest.mark.slow
def test_a_champion_answers_the_same(
    tiny_base: BaseModelFolder,
    tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    heard: Context,
    tmp_path: Path,
) -> None:
    inputs = (tiny_base, tokens, tiny_adapter, evaluation, tiny_onnx)
    champion = champion_of(tiny_onnx.variant("int8"), tmp_path / "champion")
    found = verify(*inputs, PROOF, out=tmp_path / "found", context=heard, champion=champion)
    assert found.facts["champion"]["same_as"] == "int8"
    # The same weights in another folder are put to the test like any other file.
    twin = champion_of(tiny_onnx.variant("int8"), tmp_path / "twin", note="{}")
    asked = verify(*inputs, PROOF, out=tmp_path / "asked", context=heard, champion=twin)
    assert "same_as" not in asked.facts["champion"]
    assert asked.facts["champion"]["tasks"] == found.facts["champion"]["tasks"]
    assert asked.facts["champion"]["metrics"] == found.facts["champion"]["metrics"]
    compared = found.facts["comparisons"]["int8 against champion"]
    assert [one["task"] for one in compared] == NAMES
    assert all(one["p"] == 1.0 for one in compared)
    assert read_scores(found.path / "champion.parquet") == read_scores(found.scores("int8"))
    assert "champion against base" not in found.facts["comparisons"]


def test_lm_evals_own_figures_are_kept(evaluation: Evaluation) -> None:
    found = evaluation.facts["tasks"]["local"]["models"]["tuned"]
    assert found["lm_eval"]["local"]["acc,none"] == pytest.approx(found["acc"]["value"])
    assert found["acc"]["items"] == 8


def test_examples_come_from_the_train_split(evaluation: Evaluation) -> None:
    shots = evaluation.facts["tasks"]["plain"]["shots"]
    assert len(shots) == 3
    assert all(name.startswith("train-") for name in shots)
    assert evaluation.facts["tasks"]["choice"]["base_shots"] != []
    assert evaluation.facts["tasks"]["choice"]["shots"] == []


def test_progress_is_told(
    evaluation: Evaluation, verification: Verification, heard: Context
) -> None:
    assert isinstance(heard.events, Heard)
    labels = {label for label, _, _ in heard.events.marks}
    assert {"evaluate tuned: qa", "evaluate base_fewshot: choice", "verify int4: stories"} <= labels


def test_the_same_inputs_give_the_same_bytes(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    heard: Context,
    tmp_path: Path,
) -> None:
    inputs = (tiny_base, dataset, tokens, tiny_adapter)
    again = evaluate(*inputs, SETTINGS, out=tmp_path / "again", context=heard)
    assert again.files == evaluation.files
    assert again.facts == evaluation.facts
    assert str(heard.root) not in json.dumps(again.facts)


def test_prompts_with_and_without_the_chat_template(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, evaluation: Evaluation
) -> None:
    voice = load_voice(tiny_base.model)
    chat = read_requests(evaluation.tasks / "choice" / "requests.parquet")[0]
    text = voice.tokenizer.decode(chat.prompt)
    assert text.startswith("<|im_start|>system\ngood, fair or poor?<|im_end|>\n<|im_start|>user\n")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert [voice.decode(choice) for choice in chat.choices] == ["good", "fair", "poor"]
    plain = read_requests(evaluation.tasks / "plain" / "requests.parquet")[0]
    parts = voice.tokenizer.decode(plain.prompt).split("\n\n")
    assert len(parts) == 1 + 3 + 1
    assert parts[0] == "good, fair or poor?"
    assert all(part.rsplit(" ", 1)[1] in ("good", "fair", "poor") for part in parts[1:4])
    assert [voice.decode(choice) for choice in plain.choices] == [" good", " fair", " poor"]


def test_without_tasks_nothing_is_added(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    context: Context,
    tmp_path: Path,
) -> None:
    inputs = (tiny_base, dataset, tokens, tiny_adapter)
    plain = EvaluationSettings(max_samples=4)
    found = evaluate(*inputs, plain, out=tmp_path / "evaluation", context=context)
    assert sorted(found.facts) == ["items", "models", "prefix_token", "slices"]
    tables = ["base.parquet", "questions.parquet", "slices.parquet", "tuned.parquet"]
    assert sorted(found.files) == tables
    assert np.isfinite(found.facts["models"]["base"]["perplexity"])
