"""A tiny BERT with a new head through every step: rows with labels, a shipped classifier."""

import json

import numpy as np
import pytest
from made_recipes import labelled_rows, made_recipe
from tests_line import Line, run_line

from components.runtime.served import open_served
from components.scoring.tables import read_scores

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def label_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("labels")
    recipe = made_recipe(
        root,
        "feelings",
        labelled_rows(180),
        format={
            "kind": "classification",
            "text": "text",
            "label": {"column": "label", "names": ["good", "fair", "poor"]},
        },
        model={
            "architecture": "bert",
            "task_type": "SEQ_CLS",
            "max_position_embeddings": 64,
        },
        tokenization={"max_length": 48},
        training={
            "learning_rate": 3e-3,
            "num_train_epochs": 10,
            "per_device_train_batch_size": 8,
            "eval_steps": 40,
            "bf16": False,
        },
        evaluation={"slices": {"min_items": 5}},
        gate={"max_accuracy_loss": 0.05, "max_perplexity_rise": 0.2},
    )
    return run_line(root, recipe)


def test_the_tuned_encoder_gives_the_right_labels(label_line: Line) -> None:
    models = label_line["evaluation"].facts["models"]
    assert models["tuned"]["accuracy"] > 0.9
    assert models["tuned"]["accuracy"] > models["base"]["accuracy"] + 0.3
    assert models["tuned"]["exact_match"] == models["tuned"]["accuracy"]
    low, high = models["tuned"]["accuracy_interval"]
    assert low < models["tuned"]["accuracy"] <= high
    assert models["tuned"]["perplexity"] is None
    scores = read_scores(label_line["evaluation"].path / "tuned.parquet")
    shares = np.exp([score.choice_logprobs for score in scores])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert shares.shape == (models["tuned"]["items"], 3)


def test_the_exported_file_gives_the_same_labels(label_line: Line) -> None:
    parity = label_line["verification"].facts["parity"]
    assert parity["passed"]
    assert parity["max_logit_difference"] <= 1e-4
    assert (
        parity["identical_greedy"] == parity["prompts"] == label_line["verification"].facts["items"]
    )
    int8 = label_line["verification"].facts["variants"]["int8"]
    assert {row["slicing"] for row in int8["slices"]["slices"]} >= {"label"}
    assert 0 < int8["agreement"]["mean_logit_difference"] < 0.2
    assert int8["bytes"] < label_line["verification"].facts["variants"]["fp32"]["bytes"]


def test_the_verdict_says_what_the_base_is(label_line: Line) -> None:
    verdict = label_line["verdict"].facts
    assert verdict["promote"], verdict["reasons"]
    said = {reason["check"]: reason["text"] for reason in verdict["reasons"]}
    assert "int8 against base (its head is untrained)" in said["better_than_base"]
    assert "labels identical on" in said["parity"]
    page = (label_line["report"].path / "report.html").read_text()
    assert "base (its head is untrained)" in page
    samples = [json.loads(s) for s in (label_line["report"].path / "samples.jsonl").open()]
    assert {sample["after"] for sample in samples} <= {"good", "fair", "poor"}


def test_the_folder_serves_labels_by_itself(label_line: Line) -> None:
    model = open_served(label_line["onnx"].path / "int8", threads=1)
    assert model.answer("grim lamp 7", max_new_tokens=8) == "poor"
    turns = [{"role": "user", "content": "glad lamp 7"}]
    assert model.answer(turns) == "good"
