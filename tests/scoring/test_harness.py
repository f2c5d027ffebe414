"""Our readings and writings against lm-eval's hf backend, on local tasks and the same model."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_harness import WORDS, make_model, run_reference, sentence, write_task

from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row
from components.evaluation.settings import ChoiceTask, WritingTask
from components.evaluation.tasks.named import TASKS
from components.model import torch_lm
from components.model.base import load_base
from components.model.torch_lm import TorchLM
from components.scoring.answering import answer, summary
from components.scoring.requests import Desk
from components.scoring.voice import Voice, load_voice

pytest.importorskip("lm_eval", reason="lm-eval is in the dev extra")

NAMES = ["choices", "long", "answers", "texts"]
WINDOW = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("harness") / "model")


@pytest.fixture(scope="module")
def lm(folder: Path) -> TorchLM:
    return TorchLM(load_base(folder, dtype=torch.float32, device=torch.device("cpu")))


@pytest.fixture(scope="module")
def voice(folder: Path) -> Voice:
    return load_voice(folder)


def choice_rows(seed: int = 2, low: int = 3, high: int = 40) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "question": sentence(rng, low, high).strip(),
            "choices": [" ".join(rng.sample(WORDS, rng.randrange(1, 5))) for _ in range(4)],
            "gold": rng.randrange(4),
        }
        for _ in range(40)
    ]


def answer_rows() -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [
        {"question": sentence(rng, 2, 30).strip(), "answer": rng.choice(["ri", "t", "sto", "<|"])}
        for _ in range(24)
    ]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    # The questions of "long" do not fit the window: they lose their beginning.
    for name, found in (("choices", choice_rows()), ("long", choice_rows(5, 80, 120)[:10])):
        write_task(
            folder,
            name,
            found,
            output_type="multiple_choice",
            doc_to_text="{{question}}",
            doc_to_choice="choices",
            doc_to_target="gold",
            metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_bytes"}],
        )
    write_task(
        folder,
        "answers",
        answer_rows(),
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="answer",
        generation_kwargs={"until": ["t", "o w"], "max_gen_toks": 12, "do_sample": False},
        filter_list=[
            {
                "name": "letters",
                "filter": [
                    {"function": "regex", "regex_pattern": "([a-z]{1,3})"},
                    {"function": "take_first"},
                ],
            }
        ],
        metric_list=[{"metric": "exact_match"}],
    )
    rng = random.Random(4)
    write_task(
        folder,
        "texts",
        [{"text": sentence(rng, 2, 90)} for _ in range(6)],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="text",
        metric_list=[{"metric": "bits_per_byte"}],
    )
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path, tasks: Path) -> Any:
    return run_reference(folder, tasks, NAMES, max_length=WINDOW)


@pytest.fixture(scope="module")
def ours(lm: TorchLM, voice: Voice, tasks: Path) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from components.scoring.harness import HarnessLM

    return simple_evaluate(
        model=HarnessLM(lm, voice, prefix_token=0, max_length=WINDOW),
        tasks=NAMES,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
    )


def test_log_likelihoods_are_lm_evals(reference: Any, ours: Any) -> None:
    pairs = [
        pair
        for name in ("choices", "long")
        for pair in zip(ours["samples"][name], reference["samples"][name], strict=True)
    ]
    for found, expected in pairs:
        for one, other in zip(found["resps"], expected["resps"], strict=True):
            assert one[0][0] == pytest.approx(other[0][0], abs=1e-4)
            assert one[0][1] == other[0][1]


def test_results_of_lm_evals_tasks_are_lm_evals(reference: Any, ours: Any) -> None:
    for name in NAMES:
        for key, value in reference["results"][name].items():
            if (key.endswith(",none") and not key.startswith("bits")) or key.endswith(",letters"):
                assert ours["results"][name][key] == value, (name, key)
    bits = "bits_per_byte,none"
    assert ours["results"]["texts"][bits] == pytest.approx(
        reference["results"]["texts"][bits], rel=1e-6
    )


def test_what_is_written_is_what_lm_eval_has_written(reference: Any, ours: Any) -> None:
    texts = [sample["resps"][0][0] for sample in ours["samples"]["answers"]]
    assert texts == [sample["resps"][0][0] for sample in reference["samples"]["answers"]]
    assert len(set(texts)) > 5


def rows(found: list[dict[str, Any]]) -> list[Row]:
    return [
        Row(
            id=str(at),
            turns=({"role": "user", "content": one["question"]},),
            answer=one.get("answer", ""),
            choices=tuple(one.get("choices", ())),
            target=one.get("gold", -1),
            references=(one.get("answer", ""),),
            text="",
        )
        for at, one in enumerate(found)
    ]


def native(lm: TorchLM, voice: Voice, folder: Path, task: Any, found: list[dict[str, Any]]) -> Any:
    """Return what our own task makes of the same rows, without lm-eval."""
    prompter = Prompter(voice, WINDOW, chat=False)
    known = TASKS[task.task]
    plan, asked = known.plan(task, "t"), known.requests(rows(found), task, prompter)
    answers = answer(lm, plan, asked, Desk(voice, folder))
    return answers, summary(plan, answers)


def test_our_choice_task_is_lm_evals_to_the_digit(
    lm: TorchLM, voice: Voice, folder: Path, reference: Any
) -> None:
    answers, figures = native(lm, voice, folder, ChoiceTask(task="choice"), choice_rows())
    for measure in ("acc", "acc_norm", "acc_bytes"):
        assert figures[measure]["value"] == reference["results"]["choices"][f"{measure},none"]
    assert len({figures[measure]["value"] for measure in figures}) > 1
    for one, sample in zip(answers, reference["samples"]["choices"], strict=True):
        expected = [response[0][0] for response in sample["resps"]]
        assert one.logprobs == pytest.approx(expected, abs=1e-4)
        assert [one.marks[m][0] for m in ("acc", "acc_norm")] == [sample["acc"], sample["acc_norm"]]


def test_our_generation_task_is_lm_evals(
    lm: TorchLM, voice: Voice, folder: Path, reference: Any
) -> None:
    task = WritingTask(
        task="generation",
        max_new_tokens=12,
        stop=("t", "o w"),
        extract="([a-z]{1,3})",
    )
    answers, figures = native(lm, voice, folder, task, answer_rows())
    samples = reference["samples"]["answers"]
    assert [one.text for one in answers] == [sample["resps"][0][0] for sample in samples]
    assert [one.marks["exact_match"][0] for one in answers] == [s["exact_match"] for s in samples]
    expected = reference["results"]["answers"]["exact_match,letters"]
    assert figures["exact_match"]["value"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 40, 100_000])
def test_batches_of_any_size_give_the_same_log_likelihoods(
    lm: TorchLM,
    voice: Voice,
    folder: Path,
    reference: Any,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_lm, "CHUNK", chunk)
    answers, _ = native(lm, voice, folder, ChoiceTask(task="choice"), choice_rows())
    for one, sample in zip(answers, reference["samples"]["choices"], strict=True):
        expected = [response[0][0] for response in sample["resps"]]
        assert one.logprobs == pytest.approx(expected, abs=1e-4)
