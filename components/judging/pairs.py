"""What a person judges: one prompt and the answers of two models to it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Turn = dict[str, str]
"""One turn of a prompt: `role` and `content`."""


@dataclass(frozen=True)
class Pair:
    """One item: its prompt as turns, and the answer of each of two models by its name."""

    item: str
    prompt: tuple[Turn, ...]
    answers: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """Name the pair by its content: the same prompt and answers keep what was said of them,
        also when the models have been made again.
        """
        said = [self.item, list(self.prompt), sorted(self.answers.items())]
        return _hash(json.dumps(said, ensure_ascii=False))[:16]

    def order(self, seed: int, rater: str) -> tuple[str, str]:
        """Return the models in the order in which this rater sees their answers."""
        first, second = sorted(self.answers)
        turned = int(_hash(f"{seed}/{rater}/{self.key}"), 16) % 2
        return (second, first) if turned else (first, second)


@dataclass(frozen=True)
class Offer:
    """What two models answered: the items looked at, and the pairs in which they differ."""

    items: int
    pairs: list[Pair]

    @property
    def same(self) -> int:
        """How many items both models answered the same, so that there is nothing to choose."""
        return self.items - len(self.pairs)

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> "Offer":
        """Leave out the pairs whose answers differ at most in white space at the ends."""
        found = list(pairs)
        return cls(len(found), [one for one in found if differ(one)])


def differ(pair: Pair) -> bool:
    return len({answer.strip() for answer in pair.answers.values()}) > 1


def sample(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """Return `count` pairs in an order drawn by `seed`; a larger count only adds to the end."""
    return sorted(pairs, key=lambda pair: place(pair.item, seed))[:count]


def place(item: str, seed: int) -> str:
    """Return what items are sorted by to be asked: whatever the models answer, the same order."""
    return _hash(f"{seed}/{item}")


def write_pairs(file: Path, pairs: Sequence[Pair]) -> None:
    """Write one pair a line as JSON."""
    lines = [json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in pairs]
    file.write_text("".join(lines), encoding="utf-8")


def read_pairs(file: Path) -> list[Pair]:
    """Return the pairs that `write_pairs` wrote."""
    with file.open(encoding="utf-8", newline="\n") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [Pair(row["item"], tuple(row["prompt"]), row["answers"]) for row in rows]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
