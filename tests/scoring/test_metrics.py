"""Metrics and tests against values worked out by hand or by SciPy."""

import math
from dataclasses import replace

import pytest
from scipy.stats import binomtest

from components.contracts.errors import DataError
from components.scoring.comparison import compare, mcnemar, paired_interval
from components.scoring.items import Score
from components.scoring.metrics import summarise, wilson


def score(index: int, right: bool, nll: float = 1.0, tokens: int = 2) -> Score:
    return Score(
        id=str(index),
        choice_logprobs=(-1.0, -2.0),
        choice=0 if right else 1,
        target=0,
        right=right,
        greedy=right and index % 2 == 0,
        answer_nll=nll,
        answer_tokens=tokens,
        text_nll=4.0 * nll,
        text_tokens=3,
        text_bytes=10,
    )


def test_perplexity_is_weighted_by_tokens() -> None:
    found = summarise([score(0, True, nll=1.0, tokens=1), score(1, False, nll=9.0, tokens=9)])
    assert found["answer_perplexity"] == pytest.approx(math.exp(10 / 10))
    assert found["perplexity"] == pytest.approx(math.exp(40 / 6))
    assert found["bits_per_byte"] == pytest.approx(40 / math.log(2) / 20)
    assert found["accuracy"] == 0.5
    assert found["exact_match"] == 0.5


def test_rows_without_text_have_no_text_perplexity() -> None:
    bare = replace(score(0, True), text_nll=0.0, text_tokens=0, text_bytes=0)
    assert summarise([bare])["perplexity"] is None


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (7, 10), (10, 10), (553, 641)])
def test_wilson_equals_scipy(hits: int, total: int) -> None:
    expected = binomtest(hits, total).proportion_ci(method="wilson")
    assert wilson(hits, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(4, 4) == 1.0


def test_comparison_counts_pairs() -> None:
    before = [score(i, i < 40) for i in range(100)]
    after = [score(i, i >= 10) for i in range(100)]
    found = compare(after, before)
    assert (found.gained, found.lost) == (60, 10)
    assert found.difference == pytest.approx(0.5)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.p < 1e-8
    assert "better by 50.0 points" in found.words()


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    truth, covered = 0.1, 0
    for seed in range(200):
        gained, lost, _ = rng.multinomial(400, [0.2, 0.1, 0.7])
        low, high = paired_interval(int(gained), int(lost), 400, seed=seed, resamples=999)
        covered += low <= truth <= high
    assert 180 <= covered <= 199


def test_other_items_are_refused() -> None:
    with pytest.raises(DataError, match="same items"):
        compare([score(0, True)], [score(1, True)])
