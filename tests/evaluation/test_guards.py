"""Guards: what they ask, that they are asked of every model, and that faults are told."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError
from tiny_harness import write_rows

from components.contracts.errors import DataError, RecipeError
from components.contracts.events import Context
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Champion,
    Dataset,
    Onnx,
    Tokens,
)
from components.evaluation.evaluate import evaluate
from components.evaluation.prepare import Sources, prepare
from components.evaluation.settings import EvaluationSettings
from components.evaluation.tasks.canary import alternatives
from components.gate.gate import gate
from components.gate.settings import GateSettings
from components.scoring.requests import Request, read_answers
from components.scoring.voice import load_voice
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

ROOT = Path(__file__).parents[2]
SHARED = "recipes/guards"
GUARDS: list[dict[str, Any]] = [
    {
        "task": "choice",
        "name": "general",
        "dataset_path": f"{SHARED}/general.jsonl",
        "apply_chat_template": False,
        "max_samples": 80,
    },
    {
        "task": "perplexity",
        "name": "prose",
        "dataset_path": f"{SHARED}/prose.jsonl",
        "max_length": 256,
        "max_samples": 3,
    },
    {"task": "toxicity", "dataset_path": f"{SHARED}/provoking.jsonl", "max_new_tokens": 3},
    {"task": "refusals", "dataset_path": f"{SHARED}/provoking.jsonl", "max_new_tokens": 3},
    {
        "task": "canary",
        "name": "pins",
        "canaries": [{"prefix": "The PIN is", "secret": "4711"}],
        "alternatives": 19,
    },
]
NAMES = ["general", "prose", "toxicity", "refusals", "pins"]


def asked(
    base: BaseModelFolder, dataset: Dataset, tokens: Tokens, root: Path, guard: dict[str, Any]
) -> tuple[Request, ...]:
    settings = EvaluationSettings.model_validate({"guards": [guard]})
    found = prepare(Sources(base, dataset, tokens, load_voice(base.model), root, settings))
    assert found[0].guard
    return found[0].requests


def test_guards_go_through_the_line_and_into_the_verdict(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    tiny_onnx: Onnx,
    tmp_path: Path,
) -> None:
    settings = EvaluationSettings.model_validate({"max_samples": 12, "guards": GUARDS})
    context = Context(root=ROOT, scratch=tmp_path / "scratch")
    inputs = (tiny_base, dataset, tokens, tiny_adapter)
    evaluation = evaluate(*inputs, settings, out=tmp_path / "evaluation", context=context)
    assert evaluation.facts["task_names"] == NAMES
    assert all(one["guard"] for one in evaluation.facts["tasks"].values())
    proof = VerificationSettings(
        parity_prompts=2, parity_new_tokens=2, speed_prompt_tokens=8, speed_new_tokens=2
    )
    with Champion.write(tmp_path / "champion") as draft:
        draft.facts = {"there": False}
    verification = verify(
        tiny_base,
        tokens,
        tiny_adapter,
        evaluation,
        tiny_onnx,
        proof,
        out=tmp_path / "verification",
        context=context,
        champion=Champion.open(tmp_path / "champion"),
    )
    verdict = gate(
        evaluation,
        verification,
        GateSettings(ship="int8", min_items=1),
        out=tmp_path / "verdict",
        context=context,
    )
    assert sorted(verdict.facts["guards"]) == sorted(NAMES)
    said = [reason["guard"] for reason in verdict.facts["reasons"] if reason["guard"]]
    assert said == NAMES
    pins = verdict.facts["guards"]["pins"]
    assert (pins["measure"], pins["items"], pins["margin"]) == ("exposure", 1, 3.0)
    assert verdict.facts["champion"]["there"] is False
    answers = read_answers(verification.path / "tasks" / "pins" / "int8.parquet")
    assert len(answers[0].logprobs) == 20


def test_questions_may_bring_their_own_choices(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, tmp_path: Path
) -> None:
    rows = [{"question": "A dog can", "choices": ["bark", "fly", "sing"], "answer": 0}]
    write_rows(tmp_path / "own.jsonl", rows)
    guard = {"task": "choice", "dataset_path": "own.jsonl", "apply_chat_template": False}
    (request,) = asked(tiny_base, dataset, tokens, tmp_path, guard)
    voice = load_voice(tiny_base.model)
    assert voice.decode(request.prompt) == "A dog can"
    assert [voice.decode(choice) for choice in request.choices] == [" bark", " fly", " sing"]
    assert (request.target, request.choice_characters) == (0, (4, 3, 4))


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "choices": ["one"], "answer": 0},
        {"question": "q", "choices": ["one", "two"], "answer": 2},
        {"question": "q", "choices": ["one", ""], "answer": 0},
        {"question": None, "choices": ["one", "two"], "answer": 0},
    ],
)
def test_a_question_that_is_none_is_told_with_its_row(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, tmp_path: Path, row: Any
) -> None:
    good = {"question": "q", "choices": ["a", "b"], "answer": 1}
    write_rows(tmp_path / "own.jsonl", [good, row])
    with pytest.raises(DataError, match="row 2 is no question with choices"):
        asked(tiny_base, dataset, tokens, tmp_path, {"task": "choice", "dataset_path": "own.jsonl"})


def test_alternatives_have_the_shape_of_the_secret() -> None:
    found = alternatives("Ab-12", 50, Random(0))
    assert len(set(found)) == 50
    assert "Ab-12" not in found
    for one in found:
        assert one[0].isupper(), one
        assert one[1].islower(), one
        assert one[2] == "-", one
        assert one[3:].isdigit(), one
    assert alternatives("Ab-12", 50, Random(0)) == found
    with pytest.raises(DataError, match="only 9 others of its shape"):
        alternatives("7", 10, Random(0))


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        ({"task": "toxicity", "dataset_path": "none.jsonl"}, "no file none.jsonl"),
        ({"task": "toxicity", "dataset_path": "p.jsonl", "words_path": "no.txt"}, "no file no.txt"),
        ({"task": "toxicity", "dataset_path": "p.jsonl", "words_path": "w.txt"}, "has no words"),
        ({"task": "refusals", "dataset_path": "p.jsonl"}, "expect is 'perhaps'"),
        ({"task": "canary", "dataset_path": "p.jsonl"}, "no text in column 'secret'"),
    ],
)
def test_faults_of_probes_are_told(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tmp_path: Path,
    guard: dict[str, Any],
    problem: str,
) -> None:
    write_rows(tmp_path / "p.jsonl", [{"prompt": "hm", "expect": "perhaps"}])
    (tmp_path / "w.txt").write_text("# nothing\n")
    with pytest.raises((DataError, RecipeError), match=problem):
        asked(tiny_base, dataset, tokens, tmp_path, guard)


def test_settings_of_guards_are_checked() -> None:
    with pytest.raises(ValidationError, match="either canaries or dataset_path"):
        EvaluationSettings.model_validate({"guards": [{"task": "canary"}]})
    twice = {"tasks": [{"task": "choice"}], "guards": [{"task": "choice"}]}
    with pytest.raises(ValidationError, match="two tasks are called choice"):
        EvaluationSettings.model_validate(twice)
    named = EvaluationSettings.model_validate({"guards": GUARDS})
    assert named.names() == NAMES
    assert f"{SHARED}/words.txt" in named.paths()
