"""A tiny masked-language model through every step: plain texts, a shipped encoder with its head."""

import json

import pytest
from made_recipes import made_recipe, text_rows
from tests_line import Line, run_line

from components.runtime.served import open_served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def masked_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("masks")
    recipe = made_recipe(
        root,
        "places",
        text_rows(160),
        format={"kind": "text"},
        model={
            "architecture": "bert",
            "task_type": "MASKED_LM",
            "max_position_embeddings": 96,
        },
        tokenization={"max_length": 80},
        training={
            "learning_rate": 3e-3,
            "num_train_epochs": 12,
            "per_device_train_batch_size": 8,
            "eval_steps": 48,
            "bf16": False,
        },
        evaluation={"slices": {"min_items": 5}},
        gate={"max_perplexity_rise": 0.2},
    )
    return run_line(root, recipe)


def test_the_tuned_model_tells_more_of_what_is_hidden(masked_line: Line) -> None:
    models = masked_line["evaluation"].facts["models"]
    assert models["tuned"]["perplexity"] < 0.5 * models["base"]["perplexity"]
    assert models["tuned"]["bits_per_byte"] < models["base"]["bits_per_byte"]
    assert models["tuned"]["accuracy"] is None


def test_the_exported_file_tells_the_same(masked_line: Line) -> None:
    told = masked_line["verification"].facts
    assert told["parity"]["passed"], told["parity"]
    tuned = masked_line["evaluation"].facts["models"]["tuned"]
    assert told["variants"]["fp32"]["metrics"]["perplexity"] == pytest.approx(
        tuned["perplexity"], rel=1e-4
    )
    assert told["variants"]["int8"]["bytes"] < told["variants"]["fp32"]["bytes"]


def test_the_verdict_is_that_of_plain_text(masked_line: Line) -> None:
    verdict = masked_line["verdict"].facts
    assert verdict["judged_by"] == "text"
    assert verdict["promote"], verdict["reasons"]
    said = {reason["check"]: reason["text"] for reason in verdict["reasons"]}
    assert "hidden tokens identical on" in said["parity"]
    samples = [json.loads(s) for s in (masked_line["report"].path / "samples.jsonl").open()]
    assert len(samples) == 3


def test_the_folder_fills_what_is_hidden(masked_line: Line) -> None:
    model = open_served(masked_line["onnx"].path / "int8", threads=1)
    answer = model.answer("The lamp number 12 sto[MASK]d in the office.")
    start, end = "The lamp number 12 sto", "d in the office."
    assert answer.startswith(start)
    assert answer.endswith(end)
    assert len(answer) == len(start) + 1 + len(end)
