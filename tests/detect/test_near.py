"""Near-duplicates: planted copies are found, clean texts are not, and nothing depends on chance."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edits import EDITS
from components.validation.detect.columns import column
from components.validation.detect.folded import folded
from components.validation.detect.near import near_duplicates, near_matches, prepare, signatures
from components.validation.detect.similarity import alike, expected_jaccard

ROOT = Path(__file__).resolve().parents[2]
HAND = {
    "the same": ("I love this phone so much!", "I love this phone so much!", True),
    "case, marks, spacing": ("I love this phone so much!", "i LOVE this  phone... so much", True),
    "an inserted word in a longer text": (
        "Emitting the sad pathetic longing energy again for no reason. Damn.",
        "Emitting the uber sad pathetic longing energy again for no reason! Damn!",
        True,
    ),
    "a swap": (
        "Wallets, earrings, picture frames, T-shirts and beer were sold there.",
        "Earrings, wallets, picture frames, T-shirts and beer were sold there.",
        True,
    ),
    "other words": (
        "The film is a waste of two hours and of good actors.",
        "This phone has the best camera that I have ever seen.",
        False,
    ),
    "a short text with another word": ("so very happy", "so very sad", False),
    "other emoji only": ("🙂🙂", "🙁", False),
}


def made(count: int, seed: int = 0) -> list[str]:
    """Return texts of 8 to 25 words out of 3,000, the frequent ones far more often."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("aeioubcdfglmnprst", k=rng.randrange(2, 9))) for _ in range(3000)]
    words.sort(key=len)  # as in languages, frequent words are short
    weights = [1 / rank for rank in range(1, 3001)]
    return [" ".join(rng.choices(words, weights, k=rng.randrange(8, 26))) for _ in range(count)]


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case: str) -> None:
    one, other, near = HAND[case]
    assert near_duplicates(["between", one, "more", other]).tolist() == [0, 1, 2, 1 if near else 3]
    assert near_matches([other], ["between", one]).tolist() == [1 if near else -1]


@pytest.mark.parametrize("kind", EDITS)
def test_recall_of_copies_with_a_tenth_edited(kind: str) -> None:
    texts, rng = made(1500), random.Random(1)
    copies = [EDITS[kind](text, rng, 0.1) for text in texts]
    right = np.arange(len(texts))
    assert (near_duplicates(texts + copies)[len(texts) :] == right).mean() >= 0.95
    assert (near_matches(copies, texts) == right).mean() >= 0.95
    by_signature = (near_matches(copies, signatures(texts)) == right).mean()
    assert by_signature >= {"words": 0.97, "characters": 0.7}[kind]


def test_clean_texts_are_left_alone() -> None:
    texts = made(4000)
    assert (near_duplicates(texts) != np.arange(4000)).mean() <= 0.001
    assert (near_matches(texts[:2000], texts[2000:]) >= 0).mean() <= 0.001
    assert (near_matches(texts[:2000], signatures(texts[2000:])) >= 0).mean() <= 0.001


def test_groups_do_not_depend_on_the_order_of_rows() -> None:
    texts, rng = made(300), random.Random(2)
    texts += [EDITS["words"](text, rng, 0.1) for text in texts]
    order = rng.sample(range(len(texts)), len(texts))
    found = near_duplicates(texts)
    turned = near_duplicates([texts[place] for place in order])
    groups = {frozenset(np.flatnonzero(found == row).tolist()) for row in set(found.tolist())}
    again = {
        frozenset(order[i] for i in np.flatnonzero(turned == row)) for row in set(turned.tolist())
    }
    assert groups == again


def test_a_chain_is_one_group_and_names_its_first() -> None:
    line = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima"
    chain = [line[n : n + 55] for n in (0, 8, 16)]
    assert near_duplicates(["x", *chain]).tolist() == [0, 1, 1, 1]


def test_long_texts() -> None:
    texts = [" ".join(made(12, seed)) for seed in range(60)]
    rng = random.Random(5)
    copies = [EDITS["words"](text, rng, 0.1) for text in texts]
    assert min(map(len, texts)) > 400
    assert near_matches(copies, ["short", *texts]).tolist() == list(range(1, 61))
    assert near_duplicates(["short", *texts, "brief"]).tolist() == list(range(62))


def test_many_equal_texts_cost_nothing() -> None:
    assert set(near_duplicates(["the same text again and again"] * 5000).tolist()) == {0}


def test_prepared_texts_give_the_same() -> None:
    texts = made(50) + made(50)
    rows = prepare(texts)
    assert near_duplicates(rows).tolist() == near_duplicates(texts).tolist()
    assert near_matches(rows, rows).tolist() == near_matches(texts, texts).tolist()


def test_nothing() -> None:
    assert near_duplicates([]).tolist() == []
    assert near_matches([], ["a"]).tolist() == []
    assert near_matches(["a"], []).tolist() == [-1]
    assert near_duplicates(["", "!!!", "", "!!!", "?"]).tolist() == [0, 1, 0, 1, 4]


def test_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from components.validation.detect.near import signatures;"
        "print(hashlib.sha256(signatures(['a text', 'ünother', '']).tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    # Stored signatures are compared with new ones: a change here makes all of them worthless.
    assert runs == {"b5d389741fa10208f254f6f9d61af52b45897894bb8d3cb96fe23d1f044d5dc9\n"}


def test_signatures_estimate_the_jaccard_similarity_of_shingles() -> None:
    texts, rng = made(400), random.Random(3)
    copies = [EDITS["characters"](text, rng, 0.05) for text in texts]
    estimate = (signatures(texts, ngram=4) == signatures(copies, ngram=4)).mean(1)
    exact = np.array([jaccard(*pair) for pair in zip(texts, copies, strict=True)])
    spread = np.sqrt(exact * (1 - exact) / 128)
    assert abs((estimate - exact).mean()) < 0.01
    assert 0.8 < ((estimate - exact) / np.maximum(spread, 1e-9)).std() < 1.2


def test_signatures_agree_with_datasketch() -> None:
    datasketch = pytest.importorskip("datasketch")
    texts, rng = made(60), random.Random(4)
    copies = [EDITS["words"](text, rng, 0.1) for text in texts]
    ours = (signatures(texts) == signatures(copies)).mean(1)
    theirs = []
    for pair in zip(texts, copies, strict=True):
        one, other = (datasketch.MinHash(num_perm=128) for _ in pair)
        for sketch, text in zip((one, other), pair, strict=True):
            sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        theirs.append(one.jaccard(other))
    assert np.abs(ours - theirs).mean() < 0.06


def test_alike_is_the_measure_it_says() -> None:
    texts = column(["a" * 98, "a" * 49 + "b" * 49, "a b", "a c"])
    one, other = np.array([0, 2]), np.array([1, 3])
    # Two spaces more are equal in each: 2 · (49 + 2) / 200.
    assert alike(texts, texts, one, other, 0.5).tolist() == pytest.approx([0.51, 0])
    assert expected_jaccard(np.ones(1)) == 1


def shingles(text: str) -> set[str]:
    """Return the 4-character shingles of a folded text."""
    codes = folded(column([text])).codes
    line = "".join(map(chr, codes))
    return {line[n : n + 4] for n in range(len(line) - 3)}


def jaccard(one: str, other: str) -> float:
    mine, theirs = shingles(one), shingles(other)
    return len(mine & theirs) / len(mine | theirs)
