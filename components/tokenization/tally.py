"""Counts and examples of what was tokenised, for people and for the gate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contracts.tables import IGNORED
from components.tokenization.encode import Row
from components.tokenization.tokenizer import Tokenizer

SHOWN = 3
"""How many rows are shown as text, with the trained part between the marks."""

MARKS = "⟦", "⟧"


@dataclass
class Tally:
    """Grows row by row."""

    tokenizer: Tokenizer
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    shown: list[dict[str, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def open(self, split: str) -> None:
        """Begin a split, so that an empty one is counted too."""
        names = ("rows", "tokens", "trained_tokens", "truncated_rows", "dropped_rows")
        self.splits[split] = dict.fromkeys(names, 0)

    def drop(self, split: str, place: str) -> None:
        """Count a row that was left out for its length."""
        self.splits[split]["dropped_rows"] += 1
        self.dropped.append(place)

    def add(self, split: str, line: Row, place: str) -> None:
        """Count a row that was kept."""
        counts = self.splits[split]
        counts["rows"] += 1
        counts["tokens"] += line["length"]
        counts["trained_tokens"] += line["trained_tokens"]
        counts["truncated_rows"] += line["truncated_tokens"] > 0
        self.lengths.append(line["length"])
        if len(self.shown) < SHOWN:
            self.shown.append({"row": place, "text": marked(self.tokenizer, line)})

    def facts(self) -> dict[str, Any]:
        """Return the figures as JSON values; lengths are in tokens."""
        import numpy as np

        lengths = np.array(self.lengths or [0])
        points = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
        return {
            "splits": self.splits,
            "length": {name: float(np.percentile(lengths, at)) for name, at in points.items()}
            | {"mean": round(float(lengths.mean()), 3)},
            "truncated_rows": sum(counts["truncated_rows"] for counts in self.splits.values()),
            "dropped": {"rows": len(self.dropped), "first": self.dropped[:10]},
            "shown": self.shown,
        }


def marked(tokenizer: Tokenizer, line: Row) -> str:
    """Return the row as text with every trained stretch between ⟦ and ⟧."""
    text = ""
    for trained, ids in _stretches(line["input_ids"], line["labels"]):
        part = tokenizer.decode(ids)
        text += f"{MARKS[0]}{part}{MARKS[1]}" if trained else part
    return text


def _stretches(ids: Sequence[int], labels: Sequence[int]) -> list[tuple[bool, list[int]]]:
    stretches: list[tuple[bool, list[int]]] = []
    for token, label in zip(ids, labels, strict=True):
        trained = label != IGNORED
        if not stretches or stretches[-1][0] != trained:
            stretches.append((trained, []))
        stretches[-1][1].append(token)
    return stretches
