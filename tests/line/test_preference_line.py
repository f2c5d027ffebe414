"""Preference rows through every step: DPO, and a verdict on what the shipped file prefers."""

import json

import pytest
from made_recipes import made_recipe, preference_rows
from tests_line import Line, run_line

from components.scoring.tables import read_scores


@pytest.fixture(scope="module")
def preference_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("preference")
    recipe = made_recipe(
        root,
        "polite",
        preference_rows(120),
        format={"kind": "preference"},
        training={
            "loss_type": "sigmoid",
            "beta": 0.1,
            "learning_rate": 5e-3,
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
            "eval_steps": 9,
            "bf16": False,
        },
        export={"variants": ["fp32"]},
        gate={"ship": "fp32", "max_accuracy_loss": 0.05, "max_perplexity_rise": 1.0},
    )
    return run_line(root, recipe)


def test_the_tuned_model_prefers_the_chosen_answers(preference_line: Line) -> None:
    models = preference_line["evaluation"].facts["models"]
    assert models["tuned"]["accuracy"] > models["base"]["accuracy"] + 0.2
    reward = preference_line["evaluation"].facts["preference"]
    assert reward["pairs"] == models["tuned"]["items"]
    assert reward["accuracy"] > 0.95
    tuned = read_scores(preference_line["evaluation"].path / "tuned.parquet")
    assert all(len(score.choice_logprobs) == 2 for score in tuned)
    right = [s.choice_logprobs[0] > s.choice_logprobs[1] for s in tuned]
    assert models["tuned"]["accuracy"] == sum(right) / len(right)


def test_the_gate_judges_what_the_shipped_file_prefers(preference_line: Line) -> None:
    verdict = preference_line["verdict"].facts
    assert verdict["judged_by"] == "preference"
    assert verdict["promote"], verdict["reasons"]
    said = {reason["check"]: reason["text"] for reason in verdict["reasons"]}
    assert "higher for the chosen answer in" in said["rewards_the_chosen"]
    assert verdict["implicit_reward"]["p"] < 1e-3


def test_samples_name_the_answer_that_is_preferred(preference_line: Line) -> None:
    lines = (preference_line["report"].path / "samples.jsonl").open()
    samples = [json.loads(sample) for sample in lines]
    assert {sample["after"] for sample in samples} <= {"chosen", "rejected"}
    assert any(sample["after_right"] for sample in samples)
