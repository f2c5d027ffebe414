"""Running a task of lm-eval with one of our models, and its samples as our answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.errors import RecipeError, did_you_mean
from components.scoring.lm import CausalLM
from components.scoring.marking import missing
from components.scoring.requests import Answer, Desk, Plan

LIKELIHOODS = ("word_perplexity", "byte_perplexity", "bits_per_byte")
"""Measures that a sample gives (log-likelihood, units) for."""


def run_harness(lm: CausalLM, plan: Plan, desk: Desk) -> tuple[list[Answer], dict[str, Any]]:
    """Return an answer an item, marked by lm-eval, and lm-eval's own figures of the task.

    Measures that lm-eval does not make of one number an item (BLEU over the set, say) are among its
    own figures only. Raises `RecipeError` if lm-eval knows no such task, `ModelError` if it is not
    installed.
    """
    try:
        from lm_eval import simple_evaluate
    except ImportError as error:
        raise missing("lm-eval") from error
    from components.scoring.harness import HarnessLM

    asked = plan.options
    model = HarnessLM(
        lm,
        desk.voice,
        prefix_token=asked["prefix_token"],
        max_length=asked["max_length"],
        events=desk.events,
        label=f"{desk.label} {plan.name}",
    )
    found = simple_evaluate(
        model=model,
        tasks=[asked["name"]],
        task_manager=task_manager(desk.root, asked["name"], asked["include_path"]),
        num_fewshot=asked["num_fewshot"],
        limit=asked["limit"],
        apply_chat_template=asked["apply_chat_template"],
        fewshot_random_seed=asked["fewshot_random_seed"],
        bootstrap_iters=0,
    )
    return answers_of(found["samples"]), figures(found)


def task_manager(root: Path, name: str, include_path: str | None) -> Any:
    """Return lm-eval's task manager; raise `RecipeError` unless it knows the task `name`."""
    from lm_eval.tasks import TaskManager

    # Reading the thousands of files of its own tasks takes seconds: a folder of ours is enough.
    manager = TaskManager(
        include_path=None if include_path is None else str(root / include_path),
        include_defaults=include_path is None,
    )
    if name not in manager.all_tasks:
        raise RecipeError(
            f"lm-eval knows no task '{name}'{did_you_mean(name, manager.all_tasks)}",
            fix="see `lm-eval ls tasks`, or set include_path to the folder of its YAML file",
        )
    return manager


def answers_of(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Answer]:
    """Return the samples of a task (of a group: of all its tasks) as answers.

    A measure behind a filter is named `measure,filter`; a measure that not every item has is left
    out.
    """
    marks: dict[str, dict[str, tuple[float, ...]]] = {}
    texts: dict[str, str] = {}
    for task in sorted(samples):
        for sample in samples[task]:
            name = f"{task}/{sample['doc_id']}"
            label = "" if sample["filter"] == "none" else f",{sample['filter']}"
            for measure in sample["metrics"]:
                if numbers := as_mark(measure, sample[measure]):
                    marks.setdefault(name, {})[measure + label] = numbers
            texts[name] = written(sample["resps"])
    common = set.intersection(*(set(one) for one in marks.values())) if marks else set()
    return [
        Answer(name, {m: found[m] for m in found if m in common}, text=texts[name])
        for name, found in marks.items()
    ]


def as_mark(measure: str, value: Any) -> tuple[float, ...] | None:
    """Return what an item adds to a measure, or None if lm-eval gives no numbers that add up."""
    if measure in LIKELIHOODS:
        return (-float(value[0]), float(value[1]))
    if isinstance(value, bool | int | float | np.number) and np.isfinite(value):
        sign = -1.0 if measure == "perplexity" else 1.0
        return (sign * float(value), 1.0)
    return None


def written(responses: Any) -> str:
    """Return what the model wrote, "" where it was asked for likelihoods."""
    first = responses[0] if responses else None
    while isinstance(first, list | tuple) and first:
        first = first[0]
    return first if isinstance(first, str) else ""


def figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return lm-eval's own figures and versions by task: numbers only."""
    return {
        name: {
            "version": found["versions"].get(name),
            **{
                key: float(value)
                for key, value in results.items()
                if isinstance(value, int | float) and np.isfinite(value) and "," in key
            },
        }
        for name, results in sorted(found["results"].items())
    }
