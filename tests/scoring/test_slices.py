"""Figures by slice: the same computation as over all items, the worst slice, and chance."""

import random
from pathlib import Path
from typing import Any

import pytest

from components.scoring.items import Score
from components.scoring.metrics import summarise
from components.scoring.requests import Answer
from components.scoring.slices import Slicing, measure_slices, read_slicings, write_slicings

LIMITS: dict[str, Any] = {"min_items": 30, "alpha": 0.01}


def score(number: int, *, right: bool, nll: float = 1.0, text: bool = True) -> Score:
    return Score(
        id=f"item-{number}",
        choice_logprobs=(-1.0, -2.0),
        choice=0 if right else 1,
        target=0,
        right=right,
        greedy=right,
        answer_nll=nll,
        answer_tokens=2,
        text_nll=10.0 + number % 7 if text else 0.0,
        text_tokens=8 if text else 0,
        text_bytes=20 if text else 0,
    )


def text(number: int, nll: float) -> Score:
    return Score(f"item-{number}", (), -1, -1, False, False, 0.0, 0, nll, 8, 20)


def halves(count: int) -> Slicing:
    of = tuple("early" if n < count // 2 else "late" for n in range(count))
    return Slicing("half", ("early", "late"), of)


def test_a_slice_is_measured_as_its_items_alone_are() -> None:
    scores = [score(n, right=n % 3 > 0, nll=0.1 * (n % 5), text=n % 2 == 0) for n in range(80)]
    found = measure_slices([halves(80)], scores, **LIMITS)
    for row, own in zip(found["slices"], (scores[:40], scores[40:]), strict=True):
        assert {key: row[key] for key in summarise(own)} == summarise(own)
        assert row["texts"] == 20
        for metric in ("accuracy", "answer_perplexity", "perplexity", "bits_per_byte"):
            low, high = row[f"{metric}_interval"]
            assert low <= row[metric] <= high
            assert high > low


def test_the_slice_that_fails_is_the_worst_and_its_harm_is_named() -> None:
    before = [score(n, right=True) for n in range(200)]
    after = [score(n, right=n >= 100 or n % 2 == 0) for n in range(200)]
    of = tuple("odd" if n % 2 else "even" for n in range(200))
    slicings = [halves(200), Slicing("parity", ("odd", "even"), of)]
    found = measure_slices(slicings, after, before, **LIMITS)
    assert (found["worst"]["slicing"], found["worst"]["group"]) == ("half", "early")
    assert found["worst"]["value"] == 0.5
    assert found["worst"]["rest"] == 1.0
    assert found["worst"]["p_holm"] < 1e-9
    assert found["harmed"] == ["half: early", "parity: odd"]
    assert "all 4 slices together" in found["words"]
    assert "Holm over 4 slices" in found["words"]
    alone, together = found["worst"]["interval"], found["worst"]["interval_all"]
    assert together[0] < alone[0] < 0.5 < alone[1] < together[1]


def test_plain_text_is_judged_by_its_bits() -> None:
    rng = random.Random(0)
    before = [text(n, rng.uniform(10, 14)) for n in range(120)]
    after = [text(n, one.text_nll * (1.5 if n < 60 else 0.7)) for n, one in enumerate(before)]
    found = measure_slices([halves(120)], after, before, **LIMITS)
    assert found["worst"]["measure"] == "bits_per_byte"
    assert found["worst"]["group"] == "early"
    assert found["harmed"] == ["half: early"]
    assert found["slices"][1]["against"]["difference"] < 0


def test_small_slices_are_shown_but_not_judged() -> None:
    scores = [score(n, right=n > 9) for n in range(100)]
    of = tuple("few" if n < 10 else "many" for n in range(100))
    found = measure_slices([Slicing("size", ("few", "many"), of)], scores, **LIMITS)
    assert [row["items"] for row in found["slices"]] == [10, 90]
    assert found["compared"] == 1
    assert found["worst"]["group"] == "many"
    tiny = measure_slices([Slicing("size", ("few",), of)], scores[:10], **LIMITS)
    assert tiny["worst"] is None
    assert "none is called the worst" in tiny["words"]


def test_chance_alone_rarely_tells_a_slice_apart_or_harmed() -> None:
    """Twelve slices of one coin: uncorrected, the worst of them would often be below 0.05."""
    apart = harmed = 0
    for seed in range(20):
        rng = random.Random(seed)
        before = [score(n, right=rng.random() < 0.7, text=False) for n in range(200)]
        after = [score(n, right=rng.random() < 0.7, text=False) for n in range(200)]
        slicings = [
            Slicing(f"s{k}", ("a", "b"), tuple(rng.choice("ab") for _ in range(200)))
            for k in range(6)
        ]
        found = measure_slices(slicings, after, before, min_items=30, alpha=0.05)
        apart += found["worst"]["p_holm"] <= 0.05
        harmed += bool(found["harmed"])
    assert apart <= 4
    assert harmed <= 4


def test_tasks_about_the_same_items_are_cut_alike() -> None:
    scores = [score(n, right=True) for n in range(80)]
    own = [Answer(f"item-{n}", {"f1": (float(n < 40), 1.0)}) for n in range(80)]
    others = [Answer(f"{n}", {"f1": (1.0, 1.0)}) for n in range(80)]
    tasks = {"qa": own, "other file": others}
    found = measure_slices([halves(80)], scores, tasks=tasks, **LIMITS)
    assert [row["tasks"]["qa"]["f1"]["value"] for row in found["slices"]] == [1.0, 0.0]
    assert all(set(row["tasks"]) == {"qa"} for row in found["slices"])


def test_slicings_are_read_as_they_were_written(tmp_path: Path) -> None:
    slicings = [Slicing("column x", ("b", "a"), ("a", None, "b"))]
    groups = write_slicings(tmp_path, ["1", "2", "3"], slicings)
    assert read_slicings(tmp_path, groups) == slicings


@pytest.mark.parametrize("reference", [True, False])
def test_the_same_scores_give_the_same_facts(reference: bool) -> None:
    scores = [score(n, right=n % 3 > 0) for n in range(80)]
    other = scores if reference else None
    first = measure_slices([halves(80)], scores, other, **LIMITS)
    assert measure_slices([halves(80)], scores, other, **LIMITS) == first
