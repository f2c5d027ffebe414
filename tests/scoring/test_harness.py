"""Our readings and writings against lm-eval's hf backend, on local tasks and the same model."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_harness import WORDS, make_model, run_reference, sentence, write_task

from components.model.base import load_base
from components.model.torch_lm import TorchLM
from components.scoring.voice import Voice, load_voice

pytest.importorskip("lm_eval", reason="lm-eval is in the dev extra")

NAMES = ["choices", "answers", "texts"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("harness") / "model")


@pytest.fixture(scope="module")
def lm(folder: Path) -> TorchLM:
    return TorchLM(load_base(folder, dtype=torch.float32, device=torch.device("cpu")))


@pytest.fixture(scope="module")
def voice(folder: Path) -> Voice:
    return load_voice(folder)


def choice_rows() -> list[dict[str, Any]]:
    rng = random.Random(2)
    return [
        {
            "question": sentence(rng, 3, 40).strip(),
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
    write_task(
        folder,
        "choices",
        choice_rows(),
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
    return run_reference(folder, tasks, NAMES, max_length=64)


@pytest.fixture(scope="module")
def ours(lm: TorchLM, voice: Voice, tasks: Path) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from components.scoring.harness import HarnessLM

    return simple_evaluate(
        model=HarnessLM(lm, voice, prefix_token=0, max_length=64),
        tasks=NAMES,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
    )


def test_log_likelihoods_are_lm_evals(reference: Any, ours: Any) -> None:
    for found, expected in zip(
        ours["samples"]["choices"], reference["samples"]["choices"], strict=True
    ):
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
