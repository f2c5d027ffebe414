"""Figures of drift against scipy and against values worked out by hand."""

import json
import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from components.validation.detect.drift import EDGES, compare, ks, profile, psi


def test_psi_by_hand() -> None:
    expected = (0.5 - 0.2) * math.log(0.5 / 0.2) + (0.5 - 0.8) * math.log(0.5 / 0.8)
    assert psi([20, 80], [5, 5]) == pytest.approx(expected)
    assert psi([5, 5], [20, 80]) == pytest.approx(expected)
    assert psi([3, 4], [30, 40]) == 0


def test_psi_of_an_empty_bin_is_finite() -> None:
    assert 1 < psi([10, 0], [5, 5]) < 10


def test_ks_of_unbinned_values_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.integers(0, 30, 900), rng.integers(0, 33, 700)
    statistic, p = ks(*(np.bincount(values, minlength=33) for values in (old, new)))
    reference = ks_2samp(old, new, method="asymp")
    assert statistic == pytest.approx(reference.statistic)
    assert p == pytest.approx(reference.pvalue, rel=0.2)


def test_binning_never_makes_up_a_difference() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        old, new = rng.integers(0, 30, 200), rng.integers(0, 32, 150)
        fine = ks(*(np.bincount(v, minlength=32) for v in (old, new)))
        coarse = ks(*(np.bincount(v // 4, minlength=8) for v in (old, new)))
        assert coarse[0] <= fine[0] + 1e-12
        assert coarse[1] >= fine[1] - 1e-12


def test_profile_counts_and_is_json() -> None:
    found = profile(["The cat", "the dog!", "", "é" * 5], ["a", "b", None, "a"], top=3)
    assert found == json.loads(json.dumps(found))
    assert (found["rows"], found["characters"], found["words"]) == (4, 20, 5)
    assert found["labels"] == {"a": 2, "b": 1}
    assert found["vocabulary"] == {"the": 2, "cat": 1, "dog": 1}
    assert len(found["lengths"]) == len(EDGES)
    assert [found["lengths"][EDGES.index(edge)] for edge in (0, 4, 6, 8)] == [1, 1, 1, 1]


def test_profile_does_not_depend_on_the_order_of_rows() -> None:
    texts = [f"word{n % 7} and more" for n in range(100)]
    labels = ["a" if n % 3 else "b" for n in range(100)]
    assert profile(texts, labels, top=4) == profile(texts[::-1], labels[::-1], top=4)


def test_compare_sees_what_changed_and_only_that() -> None:
    old = profile(["good film"] * 50 + ["bad film"] * 50, ["good"] * 50 + ["bad"] * 50)
    assert compare(old, old) == {
        "psi_length": 0, "psi_label": 0, "psi_vocabulary": 0, "new_words": 0, "ks_length": 0,
        "ks_length_p": 1,
    }  # fmt: skip
    labels = compare(old, profile(["good film"] * 50 + ["bad film"] * 50, ["good"] * 100))
    assert labels["psi_label"] > 0.25
    assert labels["psi_length"] == labels["psi_vocabulary"] == 0
    words = compare(old, profile(["nice book"] * 50 + ["odd book"] * 50, ["good", "bad"] * 50))
    assert words["new_words"] == 1
    assert words["psi_vocabulary"] > 1
    longer = compare(old, profile(["good film " * 9] * 50 + ["bad film " * 9] * 50, ["bad"] * 100))
    assert longer["ks_length"] == 1
    assert longer["ks_length_p"] < 1e-6


def test_empty_sides_are_no_drift() -> None:
    empty = profile([], [])
    assert set(compare(empty, empty).values()) == {0.0, 1.0}
