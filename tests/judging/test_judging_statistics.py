"""Win rates and agreement, held against published figures and other libraries."""

import random

import pytest
from sklearn.metrics import cohen_kappa_score

from components.judging.statistics import (
    Tally,
    alpha_interval,
    clopper_pearson,
    cohen_kappa,
    krippendorff_alpha,
    majority,
    smallest_win_rate,
)

OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
"""The reliability data of Krippendorff (2011), section C: 4 observers, 12 units, "." is missing."""


def published() -> list[list[str]]:
    """Return what each observer said of a unit who rated it."""
    return [[said[n] for said in OBSERVERS if said[n] != "."] for n in range(12)]


def test_alpha_is_the_published_one() -> None:
    # "Computing Krippendorff's Alpha-Reliability": 0.743 for these data as nominal.
    assert krippendorff_alpha(published()) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_perfect_agreement_is_one_and_of_chance_about_zero() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "a", "a"]]) == 1
    rng = random.Random(0)
    noise = [[rng.choice("ab"), rng.choice("ab")] for _ in range(4000)]
    assert krippendorff_alpha(noise) == pytest.approx(0, abs=0.05)
    always_apart = [["a", "b"]] * 50
    alpha = krippendorff_alpha(always_apart)
    assert alpha is not None
    assert alpha < -0.9


def test_alpha_without_two_ratings_or_without_variation_is_not_defined() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None


def test_interval_of_alpha_holds_it_and_narrows_with_more_items() -> None:
    units = [list(unit) for unit in ["aa"] * 12 + ["bb"] * 12 + ["ab"] * 6]
    alpha = krippendorff_alpha(units)
    few, many = alpha_interval(units), alpha_interval(units * 8)
    assert few is not None
    assert many is not None
    assert alpha is not None
    assert few[0] < alpha < few[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 2
    assert alpha_interval(units[:9]) is None


def test_kappa_equals_scikit_learn() -> None:
    rng = random.Random(1)
    pairs = [(a := rng.choice("xyz"), a if rng.random() < 0.6 else "x") for _ in range(200)]
    ours = cohen_kappa(pairs)
    assert ours == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
    assert cohen_kappa([("a", "a")]) is None


def test_sign_test_and_intervals() -> None:
    tally = Tally("int8", "base", wins=9, losses=1, ties=5)
    facts = tally.facts()
    assert facts["win_rate"] == 0.9
    assert facts["p"] == pytest.approx(2 * 11 / 1024)
    # Clopper-Pearson and Wilson of 9 in 10, from R's binom package.
    assert facts["win_rate_exact_interval"] == pytest.approx([0.5550, 0.9975], abs=1e-4)
    assert facts["win_rate_interval"] == pytest.approx([0.5958, 0.9821], abs=1e-4)
    assert "9 won, 1 lost, 5 ties of 15 items" in facts["words"]
    assert facts["words"].endswith("int8 is preferred")


def test_the_reference_can_be_preferred_and_nothing_can_be_shown() -> None:
    assert Tally("int8", "base", 2, 20, 0).words().endswith("base is preferred")
    words = Tally("int8", "base", 26, 24, 3).words()
    assert "no preference shown; 50 decided items could show a win rate of 7" in words
    assert Tally("int8", "base", 2, 1, 0).words().endswith("no preference shown: too few")
    assert Tally("int8", "base", 0, 0, 4).words().endswith("nothing is decided")
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("decided", [30, 100, 400])
def test_the_smallest_win_rate_is_shown_in_four_of_five_trials(decided: int) -> None:
    rate, rng = smallest_win_rate(decided), random.Random(decided)
    shown = 0
    for _ in range(400):
        wins = sum(rng.random() < rate for _ in range(decided))
        shown += Tally("a", "b", wins, decided - wins, 0).p <= 0.05
    assert 0.7 < shown / 400 < 0.92


def test_an_even_pair_is_called_different_in_at_most_one_of_twenty() -> None:
    rng, called = random.Random(3), 0
    for _ in range(1000):
        wins = sum(rng.random() < 0.5 for _ in range(60))
        called += Tally("a", "b", wins, 60 - wins, 0).p <= 0.05
    assert called <= 65


def test_majority_counts_an_item_once() -> None:
    assert [majority(c) for c in ([1], [1, -1], [1, 0], [-1, -1, 1], [0, 0])] == [1, 0, 1, -1, 0]
