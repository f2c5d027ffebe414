"""Paired comparison: by hand, by SciPy, and on two runs of one and the same model."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from components.contracts.errors import DataError
from components.scoring.measures import MEASURES, estimate
from components.scoring.paired import (
    compare_answers,
    compare_tasks,
    holm,
    items_needed,
    smallest_gap,
)
from components.scoring.requests import Answer, Plan


def answers(measure: str, values: np.ndarray) -> list[Answer]:
    rows = values if values.ndim == 2 else np.stack([values, np.ones(len(values))], axis=1)
    return [Answer(str(at), {measure: tuple(map(float, row))}) for at, row in enumerate(rows)]


def plan(name: str, measure: str) -> Plan:
    return Plan(name, "choice", 1, "choice", (measure,))


def test_right_and_wrong_by_the_exact_test() -> None:
    base, tuned = np.zeros(200), np.zeros(200)
    base[:50], tuned[10:110] = 1, 1  # gained 60, lost 10
    found = compare_answers("t", "acc", answers("acc", tuned), answers("acc", base))
    assert found.test == "mcnemar"
    assert found.difference == pytest.approx(0.25)
    assert found.p == pytest.approx(binomtest(10, 70).pvalue)
    assert found.outcome == "better"
    assert found.words().startswith("better by 25 points (1")
    back = compare_answers("t", "acc", answers("acc", base), answers("acc", tuned))
    assert back.outcome == "worse"
    assert back.words().startswith("worse by 25 points (1")


def test_shares_by_a_paired_bootstrap_as_scipy_does_it() -> None:
    rng = np.random.default_rng(0)
    base = rng.beta(2, 2, 150)
    tuned = np.clip(base + rng.normal(0.03, 0.1, 150), 0, 1)
    found = compare_answers("t", "f1", answers("f1", tuned), answers("f1", base))
    expected = bootstrap(
        (tuned, base),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.interval == pytest.approx((expected.low, expected.high), abs=2e-3)
    assert found.difference == pytest.approx(float((tuned - base).mean()))


def test_lower_perplexity_is_better() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 50, 120).astype(float)
    base = np.stack([tokens * rng.normal(2.0, 0.2, 120), tokens], axis=1)
    tuned = np.stack([base[:, 0] - 0.3 * tokens, tokens], axis=1)
    name = "token_perplexity"
    found = compare_answers("t", name, answers(name, tuned), answers(name, base))
    assert found.difference < 0
    assert found.outcome == "better"
    assert "better by" in found.words()
    assert found.words().split("by ")[1][0] != "-"


def test_nothing_changed_is_no_difference() -> None:
    same = answers("acc", np.arange(50) % 2)
    found = compare_answers("t", "acc", same, same)
    assert (found.difference, found.p, found.outcome) == (0.0, 1.0, "no difference shown")
    assert "50 items could show 16 points" in found.words()  # 8 of 50, all one way


def test_another_order_of_adding_up_is_no_difference() -> None:
    marks = np.stack([np.linspace(50, 90, 40), np.full(40, 30.0)], axis=1)
    moved = marks * np.array([1 + 1e-6, 1])
    name = "bits_per_byte"
    found = compare_answers("t", name, answers(name, moved), answers(name, marks))
    assert (found.p, found.outcome) == (1.0, "no difference shown")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_several_tasks_are_corrected_together() -> None:
    rng = np.random.default_rng(3)
    plans = [plan(f"t{at}", "acc") for at in range(5)]
    base = {p.name: answers("acc", (rng.random(100) < 0.5).astype(float)) for p in plans}
    tuned = base | {"t0": answers("acc", np.ones(100))}
    found = compare_tasks(plans, tuned, base)
    assert found[0].p_holm == pytest.approx(5 * found[0].p)
    assert [one.outcome for one in found] == ["better"] + ["no difference shown"] * 4


def test_items_needed_are_those_of_the_formula() -> None:
    assert items_needed(0.2, 0.05, alpha=0.05) == pytest.approx(7.85 * 0.2 / 0.05**2, abs=2)
    gap = smallest_gap(0.2, 628, alpha=0.05)
    assert gap == pytest.approx(0.05, abs=1e-3)


def test_the_smallest_gap_is_shown_four_times_in_five() -> None:
    rng = np.random.default_rng(5)
    items, discordant = 600, 0.2
    gap = smallest_gap(discordant, items)
    shown = 0
    for _ in range(300):
        up, down, _same = rng.multinomial(
            items, [(discordant + gap) / 2, (discordant - gap) / 2, 1 - discordant]
        )
        base, tuned = np.zeros(items), np.zeros(items)
        tuned[:up], base[up : up + down] = 1, 1
        p = compare_answers("t", "acc", answers("acc", tuned), answers("acc", base)).p
        shown += p <= 0.01
    assert 0.7 < shown / 300 < 0.88


SLOW = [pytest.param([name], marks=pytest.mark.slow) for name in ("f1", "bits_per_byte", "chrf")]


@pytest.mark.parametrize("measures", [["acc"], ["f1", "bits_per_byte", "chrf"], *SLOW])
def test_the_same_model_twice_is_seldom_called_different(measures: list[str]) -> None:
    """A/A: both sets of answers come from one distribution an item, 200 seeds."""
    called = 0
    for seed in range(200):
        measure = measures[seed % len(measures)]
        rng = np.random.default_rng([7, seed])
        skill = rng.beta(2, 1, 300)
        first, second = (made_up(measure, skill, rng) for _ in range(2))
        found = compare_answers(
            "t", measure, answers(measure, first), answers(measure, second), seed=seed
        )
        called += found.outcome != "no difference shown"
    assert called <= 10, f"{called} of 200"


def made_up(measure: str, skill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what a model of that skill an item adds to a measure."""
    if measure == "acc":
        return (rng.random(len(skill)) < skill).astype(float)
    if measure == "f1":
        return np.clip(skill + rng.normal(0, 0.2, len(skill)), 0, 1)
    if measure == "chrf":
        said = rng.integers(20, 60, (len(skill), 6)).astype(float)
        wanted = said + 5
        return np.stack([said, wanted, np.floor(said * skill[:, None])], axis=2).reshape(-1, 18)
    size = np.arange(len(skill)) % 40 + 20.0
    return np.stack([size * (2 - skill + rng.normal(0, 0.3, len(skill))), size], axis=1)


def test_other_items_are_refused() -> None:
    one, other = answers("acc", np.ones(3)), answers("acc", np.ones(4))
    with pytest.raises(DataError, match="same items of 't'"):
        compare_answers("t", "acc", one, other)


def test_estimates_have_intervals_around_them() -> None:
    rng = np.random.default_rng(0)
    for measure in ("acc", "f1", "bits_per_byte", "chrf", "word_perplexity"):
        values = made_up(measure, rng.beta(2, 1, 200), rng)
        marks = values if values.ndim == 2 else np.stack([values, np.ones(200)], axis=1)
        found = estimate(MEASURES[measure], marks)
        low, high = found["interval"]
        assert low < found["value"] < high
        assert found["items"] == 200
    with pytest.raises(DataError, match="no item"):
        estimate(MEASURES["acc"], np.zeros((0, 2)))
