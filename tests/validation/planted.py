"""Sound rows that are unlike each other, and rows with one fault each."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.validation.identity import duplicate_key, split_of
from components.validation.settings import SplitSettings

Row = dict[str, Any]

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 11}
WORDS = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
BENCHMARK = "which of these four rivers runs from the high plateau down to the northern sea today"


@dataclass(frozen=True)
class Planted:
    """Rows to add, the rows among them (from 0) that must be caught, and under which name.

    `past` are test rows of an earlier run; `found` is a part of the value that must be reported.
    """

    rows: tuple[Row, ...]
    expectation: str
    found: str
    caught: tuple[int, ...] = (0,)


def sentence(seed: object, words: int = 10) -> str:
    return " ".join(random.Random(f"{seed}").sample(WORDS, words))


def row(text: Any, label: Any = "good", **more: Any) -> Row:
    return {"text": text, "label": label, **more}


def sound(count: int) -> list[Row]:
    """Return rows with nothing wrong, half of them with each label."""
    return [row(sentence(n), ("bad", "good")[n % 2], author=f"author {n}") for n in range(count)]


def within(split: str, make: Any) -> Any:
    """Return the first of `make(0)`, `make(1)` … that falls into `split` by itself."""
    settings = SplitSettings(**SHARES)
    return next(x for x in map(make, range(1000)) if split_of(_key(x), settings) == split)


def _key(value: Any) -> str:
    return (
        duplicate_key(value, "text") if isinstance(value, str) else f'author\n"{value["author"]}"'
    )


def edited(text: str, number: int) -> str:
    """Return a near copy: one word of many is another."""
    return f"{text} changed{number}"


def by(split: str, text: str, what: str) -> Row:
    """Return a row whose author puts it into `split`."""
    return within(split, lambda n: row(text, author=f"{what} {split} {n}"))  # type: ignore[no-any-return]


LONG = sentence("long", 30)
TWICE, NEARLY, OPPOSED = sentence("twice"), sentence("nearly", 30), sentence("opposed")
LEAK, NEAR_LEAK = sentence("leak"), sentence("near leak", 30)
PAST, NEAR_PAST = sentence("past"), sentence("near past", 30)

FAULTS: dict[str, Planted] = {
    "null text": Planted((row(None),), "not_null", "null"),
    "missing label": Planted(({"text": sentence("no label")},), "not_null", "null"),
    "number for text": Planted((row(17),), "format", "holds int, not text"),
    "unknown label": Planted((row(sentence("label"), "goood"),), "label", "did you mean 'good'?"),
    "empty text": Planted((row(" \n "),), "not_empty", ""),
    "replacement character": Planted((row(f"{sentence(1)} caf\ufffd"),), "encoding", "U+FFFD"),
    "C1 control": Planted((row(f"{sentence(2)} it\x92s"),), "encoding", "U+0092"),
    "mojibake": Planted((row(f"{sentence(3)} cafÃ©"),), "encoding", "mojibake"),
    "HTML entity": Planted((row(f"{sentence(4)} R&amp;D"),), "html", "&amp;"),
    "HTML tag": Planted((row(f"{sentence(5)} <br/>"),), "html", "<br/>"),
    "too short": Planted((row("hm"),), "length", "2 characters"),
    "too long": Planted((row(f"{sentence(6, 41)}"),), "length", "41 words"),
    "wrong script": Planted((row("все счастливые семьи похожи друг на друга"),), "script", "0%"),
    "e-mail": Planted((row(f"{sentence(7)} jo.doe@fictive.net"),), "personal_data", "email"),
    "phone": Planted((row(f"{sentence(8)} +49 30 901820"),), "personal_data", "phone"),
    "card": Planted((row(f"{sentence(9)} 4111 1111 1111 1111"),), "personal_data", "card"),
    "IBAN": Planted((row(f"{sentence(10)} DE89370400440532013000"),), "personal_data", "iban"),
    "IP address": Planted((row(f"{sentence(11)} 203.0.113.77"),), "personal_data", "ip"),
    "secret": Planted((row(f"{sentence(12)} AKIAIOSFODNN7EXAMPLE"),), "personal_data", "secret"),
    "toxic words": Planted((row("you dickhead you bastard you asshole"),), "toxicity", "50%"),
    "label conflict": Planted(
        (row(OPPOSED, "good"), row(OPPOSED.upper(), "bad")), "label_conflict", "bad, good", (0, 1)
    ),
    "duplicate": Planted(
        (row(TWICE, author="one"), row(TWICE.title(), author="one")), "duplicate", ":", (1,)
    ),
    "near duplicate": Planted(
        (row(NEARLY, author="other"), row(edited(NEARLY, 1), author="other")),
        "near_duplicate",
        ":",
        (1,),
    ),
    "leakage": Planted(
        (by("test", LEAK, "leak"), by("train", LEAK, "leak")), "leakage", "test: ", (1,)
    ),
    "near leakage": Planted(
        (by("test", NEAR_LEAK, "near"), by("validation", edited(NEAR_LEAK, 1), "near")),
        "near_leakage",
        "test: ",
        (1,),
    ),
    "contamination": Planted(
        (by("train", BENCHMARK.upper(), "bench"),), "contamination", "is benchmark.jsonl:2"
    ),
    "part of an evaluation set": Planted(
        (by("train", f"{sentence(13)} {BENCHMARK} {sentence(14)}", "part"),),
        "contamination",
        "shares words with benchmark.jsonl:2",
    ),
    "past test row": Planted((by("train", PAST, "past"),), "holdout", "test row of an earlier run"),
    "near past test row": Planted(
        (by("train", edited(NEAR_PAST, 1), "near past"),), "holdout", "test row of an earlier run"
    ),
}

PAST_ROWS = [by("test", PAST, "then"), by("test", NEAR_PAST, "then")]
"""Rows of an earlier run that fell into its test split."""

SETTINGS: dict[str, Any] = {
    "min_characters": 5,
    "max_words": 40,
    "scripts": ["Latin"],
    "contamination": [{"path": "benchmark.jsonl"}],
    "max_quarantined_share": 0.6,
    "splits": {**SHARES, "group_by": "author"},
    "severity": {
        "format": "quarantine",
        "label": "quarantine",
        "html": "quarantine",
        "personal_data": "quarantine",
        "toxicity": "quarantine",
        "duplicate": "warn",
        "near_duplicate": "warn",
        "near_leakage": "quarantine",
        "drift": "warn",
    },
}


def mixture(seed: int) -> Iterator[Row]:
    """Yield sound rows and planted ones in any order, some more than once."""
    rng = random.Random(seed)
    rows = sound(60) + [
        one for fault in rng.choices(list(FAULTS.values()), k=25) for one in fault.rows
    ]
    rng.shuffle(rows)
    yield from rows
