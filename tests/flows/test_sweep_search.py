"""Which points a sweep proposes, what it refuses, and when it prunes."""

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from toy_trial import loss_at

from components.contracts.errors import RecipeError
from components.training.settings import TrainingSettings
from flows.sweep_search import propose
from flows.sweep_settings import Range, SweepSettings
from flows.sweep_space import need_known, parse_parameters
from flows.sweep_trials import Result, Spec, Trial, hopeless

RATE, R = "training.learning_rate", "training.lora_r"
RANGES: dict[str, Any] = {RATE: {"low": 1e-5, "high": 1e-1, "log": True}, R: [4, 8, 16, 32]}


def trial(number: int, parameters: dict[str, Any], value: float | None) -> Trial:
    spec = Spec(
        number=number,
        root="",
        recipe="",
        base="",
        tokens="",
        function="",
        parameters=parameters,
        training={},
    )
    over = Result(state="complete", value=value, step=1, seconds=0) if value is not None else None
    return Trial(Path(f"trial-{number}"), spec, over)


def rollout(settings: SweepSettings) -> list[Trial]:
    known: list[Trial] = []
    for number in range(settings.count):
        point = propose(settings, number, known)
        known.append(trial(number, point, loss_at(point[RATE], point[R])))
    return known


def test_a_grid_is_every_combination_once() -> None:
    settings = SweepSettings(parameters={RATE: [1e-4, 1e-3], R: [4, 8, 16]})
    points = [propose(settings, number, ()) for number in range(settings.count)]
    assert points[:3] == [{RATE: 1e-4, R: 4}, {RATE: 1e-4, R: 8}, {RATE: 1e-4, R: 16}]
    assert len({tuple(point.values()) for point in points}) == 6


def test_random_points_are_seeded_inside_and_new() -> None:
    settings = SweepSettings(parameters=RANGES, search="random", trials=30)
    points = [one.spec.parameters for one in rollout(settings)]
    assert points == [one.spec.parameters for one in rollout(settings)]
    assert all(1e-5 <= point[RATE] <= 1e-1 and point[R] in (4, 8, 16, 32) for point in points)
    low = sum(point[RATE] < 1e-3 for point in points)
    assert 8 <= low <= 22  # half of the orders of magnitude lie below
    other = SweepSettings(parameters=RANGES, search="random", trials=30, seed=1)
    assert points != [one.spec.parameters for one in rollout(other)]
    few = SweepSettings(parameters={RATE: [1e-4], R: [4, 8, 16]}, search="random", trials=3)
    assert {one.spec.parameters[R] for one in rollout(few)} == {4, 8, 16}


def test_whole_numbers_stay_whole_and_reach_both_ends() -> None:
    domain = {R: {"low": 1, "high": 3}, RATE: [1e-3]}
    settings = SweepSettings(parameters=domain, search="random", trials=60)
    drawn = {propose(settings, number, ())[R] for number in range(60)}
    assert drawn == {1, 2, 3}


def test_tpe_learns_from_what_came_out() -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    settings = SweepSettings(parameters=RANGES, search="tpe", trials=25)
    known = rollout(settings)
    values = [one.result.value for one in known if one.result and one.result.value]
    assert sum(values[-12:]) / 12 < 1.6  # drawn at random they are 2.1 in the mean
    # The same trials give the same proposal: nothing else is remembered.
    assert propose(settings, 20, known[:20]) == known[20].spec.parameters
    # One that still runs counts too, so that two workers do not try the same.
    running = [*known[:20], trial(20, known[20].spec.parameters, None)]
    assert propose(settings, 21, running) != known[20].spec.parameters


@pytest.mark.parametrize("seed", range(3))
def test_pruning_is_optunas_median_rule(seed: int) -> None:
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    draw = random.Random(seed)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
    others: list[dict[int, float]] = []
    seen = []
    for _ in range(12):
        steps = range(2, 2 * draw.randint(1, 4) + 1, 2)
        curve = {step: draw.random() + 1 / step for step in steps}
        asked, own = study.ask(), {}
        for step, value in curve.items():
            own[step] = value
            asked.report(value, step)
            seen.append(hopeless(own, others, 3))
            assert seen[-1] == asked.should_prune()
        study.tell(asked, curve[max(curve)])
        others.append(curve)
    assert {True, False} == set(seen)


def test_words_of_the_command_line() -> None:
    found = parse_parameters(
        [
            "training.learning_rate=1e-4,3e-4",
            "training.lora_r=4..64",
            "training.weight_decay=log:1e-3..1e-1",
            "training.lora_target_modules=all-linear,[q_proj,v_proj]",
            "training.bf16=null,true",
        ]
    )
    assert list(found.values()) == [
        (1e-4, 3e-4),
        Range(low=4, high=64),
        Range(low=1e-3, high=1e-1, log=True),
        ("all-linear", ["q_proj", "v_proj"]),
        (None, True),
    ]
    for bad, told in (("lr", "KEY=VALUE"), ("training.lora_r=8..4", "low must be below high")):
        with pytest.raises(RecipeError, match=told):
            parse_parameters([bad])


@pytest.mark.parametrize(
    ("key", "values", "told"),
    [
        ("training.learning_rat", [1, 2], "did you mean 'learning_rate'"),
        ("learning_rate", [1, 2], "did you mean 'training.learning_rate'"),
        ("tokenization.max_length", [64], "varies settings of `training`"),
        ("training.loss_type", ["nll"], "changes what the validation loss means"),
        ("training.max_eval_samples", [4], "changes what the validation loss means"),
        ("training.eval_steps", [4, 8], "is the same for all"),
        ("training.lr_scheduler_type", ["linear", "cosin"], "did you mean 'cosine'"),
        ("training.learning_rate", [1e-3, -1], "greater than 0"),
        ("training.learning_rate", [1e-3, 0.001], "stands there twice"),
    ],
)
def test_a_parameter_that_cannot_be_tried(key: str, values: list[Any], told: str) -> None:
    settings = SweepSettings(parameters={key: values})
    with pytest.raises(RecipeError, match=told):
        need_known(settings, TrainingSettings(eval_steps=1), "recipes/toy.yaml: sweep")


def test_a_recipe_without_evaluations_cannot_be_swept() -> None:
    settings = SweepSettings(parameters={R: [8]})
    with pytest.raises(RecipeError, match=r"never taken(.|\n)*set training.eval_steps"):
        need_known(settings, TrainingSettings(), "recipes/toy.yaml: sweep")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"parameters": {}}, "at least 1 item"),
        ({"parameters": {R: []}}, "at least 1 item"),
        ({"parameters": {R: {"low": 1, "high": 4}}}, "a grid needs a list of values"),
        ({"parameters": {R: [1, 2]}, "trials": 1}, "the grid has 2 combinations"),
        ({"parameters": {R: [1, 2]}, "search": "tpe"}, "needs to know how many"),
        ({"parameters": {R: {"low": 0, "high": 4, "log": True}}}, "lies above 0"),
        ({"parameters": {R: [1]}, "engine": "processes", "address": "x"}, "Ray cluster"),
    ],
)
def test_a_section_that_does_not_fit(data: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SweepSettings.model_validate(data)
