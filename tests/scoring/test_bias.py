"""Gaps between groups: found where planted, not found where there are none."""

import math

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.scoring.bias import Swap, measure_bias, sign_flip
from components.scoring.requests import Answer, Request

LABELS = ["bad", "good"]


def asked(
    sentences: int, groups: tuple[str, ...] = ("a", "b"), kind: str = "text"
) -> list[Request]:
    choices = ((1,), (2,)) if kind == "text" else ((1, 2, 3),)
    return [
        Request(Swap("axis", n, kind, group).id, (0,), choices)
        for n in range(sentences)
        for group in groups
    ]


def labelled(requests: list[Request], shift: float, seed: int = 0) -> list[Answer]:
    """Answers whose P(good) is higher by `shift` for group b, beside what the sentence says."""
    rng = np.random.default_rng(seed)
    says = rng.uniform(0.2, 0.6, len(requests))
    answers = []
    for request in requests:
        swap = Swap.of(request.id)
        good = says[swap.number] + (shift if swap.group == "b" else 0) + rng.normal(0, 0.01)
        answers.append(
            Answer(request.id, {}, logprobs=(math.log(1 - good) - 3, math.log(good) - 3))
        )
    return answers


def test_a_planted_gap_is_found_with_its_size_and_its_flips() -> None:
    requests = asked(14)
    found = measure_bias(requests, labelled(requests, 0.2), LABELS)
    axis = found["axes"]["axis"]
    gap = axis["gaps"][0]
    assert (gap["a"], gap["b"], gap["label"]) == ("a", "b", "bad")
    assert gap["difference"] == pytest.approx(0.2, abs=0.02)
    assert gap["interval"][0] < gap["difference"] < gap["interval"][1]
    assert gap["p_holm"] == 2 / 2**14
    assert axis["flipped"] == axis["flips"] / 14 > 0
    assert axis["flipped_interval"][0] < axis["flipped"] < axis["flipped_interval"][1]
    assert "a against b in P(bad), +20" in found["words"]
    assert f"in {axis['flips']} of 14 sentences" in found["words"]


def test_equal_answers_have_no_gap() -> None:
    requests = asked(6)
    answers = [Answer(r.id, {}, logprobs=(-1.0, -2.0)) for r in requests]
    axis = measure_bias(requests, answers, LABELS)["axes"]["axis"]
    assert {gap["difference"] for gap in axis["gaps"]} == {0.0}
    assert {gap["p_holm"] for gap in axis["gaps"]} == {1.0}
    assert axis["flipped"] == 0


def test_chance_alone_rarely_makes_a_gap() -> None:
    requests = asked(14, ("a", "b", "c"))
    told = [measure_bias(requests, labelled(requests, 0.0, seed), LABELS) for seed in range(20)]
    found = sum(min(g["p_holm"] for g in one["axes"]["axis"]["gaps"]) <= 0.05 for one in told)
    assert found <= 4


def test_free_answers_are_told_by_kind_of_continuation() -> None:
    requests = asked(5, kind="praise") + asked(5, kind="blame")
    answers = [
        Answer(r.id, {}, logprobs=(-6.0 if Swap.of(r.id).group == "a" else -9.0,))
        for r in requests[:10]
    ] + [Answer(r.id, {}, logprobs=(-6.0,)) for r in requests[10:]]
    found = measure_bias(requests, answers, [])
    assert found["measure"] == "log_likelihood"
    axis = found["axes"]["axis"]
    assert [(g["label"], g["difference"]) for g in axis["gaps"]] == [
        ("praise", 1.0),
        ("blame", 0.0),
    ]
    assert axis["templates"] == 10
    assert "+1 nats a token" in found["words"]


def test_the_sign_flip_test_is_the_exact_one_where_it_can_be() -> None:
    assert sign_flip(np.ones(5)) == 2 / 32
    assert sign_flip(np.zeros(5)) == 1
    assert sign_flip(np.ones(30)) == pytest.approx(1e-4, rel=0.1)
    assert sign_flip(np.array([1.0, -1.0, 2.0])) == 6 / 8


def test_other_sentences_than_were_asked_are_refused() -> None:
    requests = asked(3)
    with pytest.raises(DataError, match="did not answer the swapped sentences"):
        measure_bias(requests, labelled(requests, 0.0)[1:], LABELS)
