"""What tasks ask, and what they cannot."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tiny_harness import write_rows

from components.contracts.errors import DataError, RecipeError
from components.contracts.kinds import (
    BaseModelFolder,
    Dataset,
    Tokens,
)
from components.evaluation.prepare import Sources, prepare
from components.evaluation.settings import EvaluationSettings
from components.scoring.voice import load_voice


def sources(
    base: BaseModelFolder, dataset: Dataset, tokens: Tokens, root: Path, *tasks: dict[str, Any]
) -> Sources:
    settings = EvaluationSettings.model_validate({"tasks": tasks})
    return Sources(base, dataset, tokens, load_voice(base.model), root, settings)


def test_too_long_prompts_lose_their_beginning_and_are_counted(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, tmp_path: Path
) -> None:
    write_rows(tmp_path / "long.jsonl", [{"prompt": "word " * 600 + "end", "completion": "x"}])
    asked = prepare(
        sources(
            tiny_base,
            dataset,
            tokens,
            tmp_path,
            {"task": "generation", "dataset_path": "long.jsonl", "apply_chat_template": False},
        )
    )[0]
    assert asked.facts["shortened"] == 1
    limit = tiny_base.facts["max_position_embeddings"]
    assert len(asked.requests[0].prompt) == limit - 64
    assert load_voice(tiny_base.model).decode(asked.requests[0].prompt[-3:]) == "end"


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"task": "choice", "dataset_path": "qa.jsonl"}, "row 1 has no choices"),
        ({"task": "generation", "dataset_path": "none.jsonl"}, "no file none.jsonl"),
        ({"task": "generation", "dataset_path": "stories.jsonl"}, "no question with an answer"),
        ({"task": "generation", "num_fewshot": 99}, "99 few-shot examples"),
        (
            {
                "task": "perplexity",
                "name": "p",
                "dataset_path": "qa.jsonl",
                "text_column": "question_",
            },
            "no text in column 'question_'",
        ),
        ({"task": "perplexity", "name": "p", "prefix_token": "<|im_stat|>"}, "did you mean"),
        ({"task": "perplexity", "name": "p", "max_length": 9999}, "the model reads"),
        (
            {"task": "code", "dataset_path": "qa.jsonl", "confirm_run_unsafe_code": True},
            "no text in column 'prompt'",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    root: Path,
    task: dict[str, Any],
    problem: str,
) -> None:
    with pytest.raises((DataError, RecipeError), match=problem):
        prepare(sources(tiny_base, dataset, tokens, root, task))


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"tasks": [{"task": "code", "dataset_path": "x"}]}, "confirm_run_unsafe_code"),
        ({"tasks": [{"task": "choice"}, {"task": "choice"}]}, "called choice"),
        ({"tasks": [{"task": "generation", "extract": "("}]}, "no regular expression"),
        ({"tasks": [{"task": "choice", "dataset_path": "x", "num_fewshot": 1}]}, "train_path"),
        ({"perplexity": {"max_length": 8, "stride": 9}}, "at most max_length"),
        (
            {
                "tasks": [
                    {
                        "task": "code",
                        "dataset_path": "x",
                        "confirm_run_unsafe_code": True,
                        "num_samples": 4,
                    }
                ]
            },
            "temperature",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        EvaluationSettings.model_validate(section)


def test_a_task_that_lm_eval_does_not_know_is_named(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, root: Path
) -> None:
    from components.scoring.harness_run import task_manager

    with pytest.raises(RecipeError, match="did you mean 'local'"):
        task_manager(root, "locl", "lm_eval")
