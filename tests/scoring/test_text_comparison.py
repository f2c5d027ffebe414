"""Two models on the same documents: the figures, and how often the test is wrong."""

import math
from dataclasses import replace

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.scoring.items import Score
from components.scoring.metrics import text_metrics
from components.scoring.text_comparison import compare_texts, resamples_for

DOCUMENTS = 60


def documents(nll: np.ndarray) -> list[Score]:
    """Return documents of 10 tokens and 40 bytes with the given sums of nats."""
    return [
        Score(str(i), (), -1, -1, False, False, 0.0, 0, float(n), 10, 40) for i, n in enumerate(nll)
    ]


def test_the_figures_are_ratios_of_sums() -> None:
    rng = np.random.default_rng(0)
    base = documents(rng.uniform(20, 40, DOCUMENTS))
    tuned = [replace(s, text_nll=s.text_nll - 2) for s in base]
    found = compare_texts(tuned, base)
    ours, theirs = text_metrics(tuned), text_metrics(base)
    assert found.model_bits_per_byte == pytest.approx(ours["bits_per_byte"])
    assert found.difference == pytest.approx(ours["bits_per_byte"] - theirs["bits_per_byte"])
    assert found.rise == pytest.approx(ours["perplexity"] / theirs["perplexity"] - 1)
    # The same gain everywhere: resampling cannot change it.
    assert found.interval == pytest.approx((found.difference, found.difference))
    assert found.p == pytest.approx(2 / 10000)
    assert found.difference == pytest.approx(-2 / (40 * math.log(2)))


def test_a_difference_that_is_none_is_seldom_called_one() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for trial in range(200):
        nll = rng.normal(30, 5, DOCUMENTS)
        noise = rng.normal(0, 1, DOCUMENTS)
        found = compare_texts(documents(nll + noise), documents(nll), resamples=500, seed=trial)
        wrong += found.p <= 0.05
    assert wrong <= 20, "5 % of 200 are 10; more than 20 has a chance of 0.1 %"


def test_a_real_difference_is_found_where_it_is_paired() -> None:
    rng = np.random.default_rng(2)
    nll = rng.normal(30, 8, DOCUMENTS)
    better = nll - 0.5 + rng.normal(0, 0.5, DOCUMENTS)
    found = compare_texts(documents(better), documents(nll))
    assert found.p < 0.001
    assert found.words().startswith("better by 0.0")
    assert compare_texts(documents(nll), documents(nll)).words().startswith("equal (")


def test_other_documents_and_no_documents_are_refused() -> None:
    some = documents(np.full(3, 1.0))
    with pytest.raises(DataError, match="same documents"):
        compare_texts(some, some[:2])
    none = [replace(s, text_tokens=0, text_bytes=0, text_nll=0.0) for s in some]
    with pytest.raises(DataError, match="max_text_samples"):
        compare_texts(none, none)


def test_resamples_suffice_for_the_level_that_is_asked() -> None:
    assert resamples_for(0.05) == 9999
    assert 2 / (resamples_for(1e-4) + 1) < 1e-4
