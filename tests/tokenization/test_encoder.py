"""Remembered words give the tokenizer's own ids, whatever the text and the way of cutting."""

import random
from pathlib import Path
from typing import Any

import pytest
from made_tokenizer import KINDS, SPECIAL, made_tokenizer, trained

from components.tokenization import words as words_room
from components.tokenization.encoder import Encoder
from components.tokenization.tokenizer import load_tokenizer
from components.tokenization.words import WordCache

CERTAIN = ("byte-level", "digits", "llama-3", "qwen", "o200k")
SCRAPS = [
    *"abcXYZ 019 .,!?-'\"_/()<>|",
    *"  \t\n\r\x0b\x0c\x1c\x1f\x7f\x85\xa0\u200b\u2028\u3000\ufeff",
    *"éßñ你好한글да\u0301\u0308\u1161ⅨⅳªºÅﬁ²½٣😀👩‍👩\u0345ﷺ\ufffd\ue000",
    *["'s", "'LL", " '", "  ", "   ", "\n\n", " \n", "\r\n", "the", " the", " The", "HTTPServer"],
    *["don't", "it's(", "'sam", "o'Clock!", "X's\n", "ab_c", "q\n\n  r", "fn(x)", "a\u0301."],
    *["héé", "in 2020 the", " - ", "1,234.5", "…", "e\u0301", " \u0301", "foo/bar\n//x"],
    *SPECIAL,
]


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(SCRAPS, k=rng.randrange(1, 30))) for _ in range(count)]


def plain(backend: Any, batch: list[str]) -> list[list[int]]:
    return [e.ids for e in backend.encode_batch(batch, add_special_tokens=False)]


@pytest.mark.parametrize("kind", CERTAIN)
def test_words_give_the_ids_of_the_whole_text(kind: str) -> None:
    backend = trained(kind)
    cache = WordCache.of(backend)
    assert cache is not None
    for seed in range(5):
        batch = texts(1500, seed)
        assert cache.encode(batch) == plain(backend, batch)


@pytest.mark.parametrize("kind", CERTAIN)
def test_a_full_cache_forgets_and_stays_exact(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_room, "MOST_WORDS", 50)
    monkeypatch.setattr(words_room, "MOST_SEGMENTS", 20)
    backend = trained(kind)
    cache = WordCache.of(backend)
    assert cache is not None
    for seed in range(4):
        batch = texts(200, seed) * 2
        assert cache.encode(batch) == plain(backend, batch)


@pytest.mark.parametrize("kind", ["spaces", "no cuts"])
def test_where_cuts_are_not_certain_there_is_no_cache(kind: str) -> None:
    assert WordCache.of(trained(kind)) is None


def changed(kind: str, change: str) -> Any:
    """Return a tokenizer of `kind` with one thing that makes cuts uncertain."""
    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

    backend = Tokenizer.from_str(trained(kind).to_str())
    if change == "lowercase":
        backend.normalizer = normalizers.Lowercase()
    elif change == "dropout":
        backend.model.dropout = 0.1
    elif change == "pattern":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"\p{L}+ ?"), behavior="isolated"),
                pre_tokenizers.ByteLevel(False, use_regex=False),
            ]
        )
    elif change == "prefix space":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    elif change == "stripping token":
        backend.add_special_tokens([AddedToken("<|strip|>", rstrip=True, normalized=False)])
    elif change == "two kinds of token":
        backend.add_tokens([AddedToken("plain", normalized=True)])
    return backend


@pytest.mark.parametrize(
    "change",
    ["lowercase", "dropout", "pattern", "prefix space", "stripping token", "two kinds of token"],
)
def test_anything_uncertain_means_no_cache(change: str) -> None:
    assert WordCache.of(changed("byte-level", "nothing")) is not None
    assert WordCache.of(changed("byte-level", change)) is None


def test_a_cache_that_is_wrong_is_given_up() -> None:
    class Wrong:
        def encode(self, batch: list[str]) -> list[list[int]]:
            return [[0] for _ in batch]

    class Hf:
        backend_tokenizer = trained("byte-level")

    encoder = Encoder(Hf(), Wrong())  # type: ignore[arg-type]
    assert encoder.encode(["the", "a b"]) == plain(Hf.backend_tokenizer, ["the", "a b"])
    assert encoder.words is None


@pytest.mark.parametrize("kind", KINDS)
def test_spans_hold_the_tokens_that_lie_inside(kind: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(made_tokenizer(tmp_path, "", "<s>", "</s>", [], kind))
    rng = random.Random(8)
    batch = texts(400, 3)
    spans = [[tuple(sorted(rng.sample(range(len(t) + 1), 2)))] if len(t) > 2 else [] for t in batch]
    encoder = tokenizer.encoder
    for _ in range(2):  # the second time from the cache, where there is one
        found = encoder.encode_spans(batch, spans)
        encoder.unproved = 0
        for text, wanted, (ids, inside) in zip(batch, spans, found, strict=True):
            one = tokenizer.hf.backend_tokenizer.encode(text, add_special_tokens=False)
            assert ids == one.ids
            for (begin, end), (first, last) in zip(wanted, inside, strict=True):
                lying = [i for i, (a, b) in enumerate(one.offsets) if a >= begin and b <= end]
                assert list(range(first, last)) == lying


def test_behind_a_text_no_space_is_put(tmp_path: Path) -> None:
    folder = made_tokenizer(tmp_path, "", "<s>", "</s>", [], "spaces")
    encoder = load_tokenizer(folder).encoder
    assert encoder.adds_space
    ((four, spans),) = encoder.encode_after(["It makes</s>"], [[(3, 12)]])
    (whole,) = encoder.encode(["And three?\nIt makes</s>"])
    assert whole[-len(four) :] == four
    (alone,) = encoder.encode(["It makes</s>"])
    assert alone != four
    assert spans[0][1] == len(four)
