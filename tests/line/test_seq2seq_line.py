"""A tiny T5 through every step: prompts with answers, tasks, a shipped encoder-decoder, MLflow."""

import json

import pytest
from made_recipes import labelled_rows, made_recipe
from tests_line import Line, run_line

from components.runtime.served import open_served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seq2seq_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("pairs")
    recipe = made_recipe(
        root,
        "moods",
        labelled_rows(180),
        format={
            "kind": "classification",
            "text": "text",
            "label": {"column": "label", "names": ["good", "fair", "poor"]},
            "template": "mood: {text}",
        },
        model={"architecture": "t5", "task_type": "SEQ_2_SEQ_LM", "title": "random T5"},
        tokenization={"max_length": 64},
        training={
            "learning_rate": 5e-3,
            "num_train_epochs": 12,
            "per_device_train_batch_size": 8,
            "eval_steps": 40,
            "bf16": False,
        },
        evaluation={
            "slices": {"min_items": 5},
            "tasks": [
                {"task": "choice"},
                {"task": "generation", "max_new_tokens": 8, "num_fewshot": 0},
            ],
        },
        verification={"max_logit_difference": 1e-3},
        gate={"max_accuracy_loss": 0.05, "max_perplexity_rise": 0.2},
    )
    return run_line(root, recipe)


def test_the_tuned_model_writes_the_right_answers(seq2seq_line: Line) -> None:
    told = seq2seq_line["evaluation"].facts
    models = told["models"]
    assert models["tuned"]["accuracy"] > 0.9
    assert models["tuned"]["accuracy"] > models["base"]["accuracy"] + 0.3
    assert models["tuned"]["exact_match"] > 0.9
    assert models["tuned"]["answer_perplexity"] < 1.3 < models["base"]["answer_perplexity"]
    assert models["tuned"]["perplexity"] is None
    for name in ("choice", "generation"):
        figures = told["tasks"][name]["models"]["tuned"]
        first = next(iter(figures.values()))
        assert first["value"] > 0.9, (name, figures)
    # By likelihood and by writing it is the same question.
    chosen = told["tasks"]["choice"]["models"]["tuned"]["acc"]["value"]
    assert chosen == pytest.approx(models["tuned"]["accuracy"])


def test_the_exported_files_write_the_same(seq2seq_line: Line) -> None:
    parity = seq2seq_line["verification"].facts["parity"]
    assert parity["passed"], parity
    assert parity["identical_greedy"] == parity["prompts"] == 4
    variants = seq2seq_line["verification"].facts["variants"]
    tuned = seq2seq_line["evaluation"].facts["models"]["tuned"]
    assert variants["fp32"]["metrics"]["accuracy"] == tuned["accuracy"]
    assert variants["fp32"]["metrics"]["answer_loss"] == pytest.approx(
        tuned["answer_loss"], abs=1e-4
    )
    assert variants["int8"]["bytes"] < variants["fp32"]["bytes"]
    assert variants["int8"]["tasks"]["generation"]


def test_the_verdict_promotes_and_the_page_tells(seq2seq_line: Line) -> None:
    verdict = seq2seq_line["verdict"].facts
    assert verdict["promote"], verdict["reasons"]
    samples = [json.loads(s) for s in (seq2seq_line["report"].path / "samples.jsonl").open()]
    assert len(samples) == 3
    assert "random T5" in (seq2seq_line["report"].path / "report.html").read_text()


def test_the_folder_answers_by_itself(seq2seq_line: Line) -> None:
    model = open_served(seq2seq_line["onnx"].path / "int8", threads=1)
    assert model.answer("mood: grim lamp 7", max_new_tokens=8) == "poor"
    turns = [{"role": "user", "content": "mood: glad lamp 7"}]
    assert model.answer(turns, max_new_tokens=8) == "good"
