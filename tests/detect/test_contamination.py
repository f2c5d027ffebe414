"""Shared runs of words, held against the plain definition."""

import random

import numpy as np
import pytest

from components.validation.detect.contamination import ngram_matches

FOX = "the quick brown fox jumps over the lazy dog and runs away from home today"
CASES = {
    "a run of n words, other case and punctuation": ("so: THE quick, brown fox jumps", [FOX], 5, 0),
    "a run shorter than n": ("the quick brown fox walks", [FOX], 5, -1),
    "the first that matches": (FOX, ["nothing", FOX[10:], FOX], 5, 1),
    "a whole short text": ("and a b c d e f g h too", ["x", "a b c d e f g h"], 13, 1),
    "a very short text only alone": ("well good morning all", ["good morning"], 13, -1),
    "a very short text alone": ("Good morning!", ["nothing", "good morning"], 13, 1),
    "no words": ("?!", ["", "!"], 13, -1),
    "not across rows": ("a b c", ["x a", "b c y"], 3, -1),
}


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    text, others, n, expected = CASES[case]
    assert ngram_matches(["first", text, ""], others, n).tolist() == [-1, expected, -1]


def plain(text: str, others: list[str], n: int, shortest: int) -> int:
    """Say the same with strings."""
    for place, other in enumerate(others):
        mine, theirs = text.split(), other.split()
        size = min(n, len(theirs))
        if 0 < size < min(shortest, n):
            if mine == theirs:
                return place
            continue
        runs = (
            {tuple(theirs[i : i + size]) for i in range(len(theirs) - size + 1)} if size else set()
        )
        if any(tuple(mine[i : i + size]) in runs for i in range(len(mine) - size + 1)):
            return place
    return -1


@pytest.mark.parametrize("n", [3, 5])
def test_random_texts_match_as_the_definition_says(n: int) -> None:
    rng = random.Random(n)
    texts, others = (
        [" ".join(rng.choices("abc", k=rng.randrange(9))) for _ in range(200)] for _ in range(2)
    )
    others = others[:40]
    found = ngram_matches(texts, others, n, shortest=3)
    assert found.tolist() == [plain(text, others, n, 3) for text in texts]
    assert 0 < np.mean(found >= 0) < 1


def test_nothing_to_look_for() -> None:
    assert ngram_matches(["a b", "c"], []).tolist() == [-1, -1]
    assert ngram_matches([], ["a"]).tolist() == []
