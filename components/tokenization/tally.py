"""Counts and examples of what was tokenised, for people and for the gate."""

import heapq
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.tokenization.columns import Flags, Flat, Ledger
from components.tokenization.ledger import Place
from components.tokenization.show import marked_ids
from components.tokenization.tokenizer import Tokenizer

SHOWN = 3
"""How many rows are shown as text, with the trained part between marks."""

LONGEST, DROPPED = 5, 10
"""How many of the longest and of the dropped rows are named."""

COUNTS = (
    "rows",
    "tokens",
    "trained_tokens",
    "truncated_rows",
    "truncated_tokens",
    "dropped_rows",
    "dropped_tokens",
    "answers",
    "trained_answers",
    "rows_without_bos",
)


@dataclass
class Tally:
    """Grows batch by batch; holds four bytes a row."""

    tokenizer: Tokenizer
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: "array[int]" = field(default_factory=lambda: array("i"))
    longest: list[tuple[int, int, str]] = field(default_factory=list)
    shown: list[dict[str, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    seen: int = 0

    def open(self, split: str) -> None:
        """Begin a split, so that an empty one is counted too."""
        self.splits[split] = dict.fromkeys(COUNTS, 0)

    def add(self, split: str, rows: Ledger, flat: Flat, keep: Flags, place: Place) -> None:
        """Count a batch of rows, of which those in `keep` are kept."""
        kept, gone = np.flatnonzero(keep), np.flatnonzero(~keep)
        counts = {
            "rows": len(kept),
            "tokens": rows.length[kept].sum(),
            "trained_tokens": rows.trained_tokens[kept].sum(),
            "truncated_rows": (rows.truncated_tokens[kept] > 0).sum(),
            "truncated_tokens": rows.truncated_tokens[kept].sum(),
            "dropped_rows": len(gone),
            "dropped_tokens": rows.length[gone].sum(),
            "answers": rows.answers[kept].sum(),
            "trained_answers": rows.trained_answers[kept].sum(),
            "rows_without_bos": rows.without_bos[kept].sum(),
        }
        for name, count in counts.items():
            self.splits[split][name] += int(count)
        self.lengths.frombytes(np.ascontiguousarray(rows.length[kept]).tobytes())
        self.dropped += [place(int(i)) for i in gone[: DROPPED - len(self.dropped)]]
        for i in kept[: SHOWN - len(self.shown)]:
            text = marked_ids(self.tokenizer, *flat.row(i))
            self.shown.append({"row": place(int(i)), "text": text})
        self._note_longest(rows, kept, place)

    def facts(self) -> dict[str, Any]:
        """Return the figures as JSON values; lengths are in tokens."""
        lengths = np.frombuffer(self.lengths, np.int32) if self.lengths else np.zeros(1, np.int32)
        points = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
        return {
            "splits": self.splits,
            "length": {name: float(np.percentile(lengths, at)) for name, at in points.items()}
            | {"mean": round(float(lengths.mean()), 3)},
            "longest": [{"row": row, "tokens": n} for n, _, row in sorted(self.longest)[::-1]],
            "truncated_rows": self._total("truncated_rows"),
            "dropped": {"rows": self._total("dropped_rows"), "first": self.dropped},
            "shown": self.shown,
        }

    def _total(self, name: str) -> int:
        return sum(counts[name] for counts in self.splits.values())

    def _note_longest(self, rows: Ledger, kept: Any, place: Place) -> None:
        lengths = rows.length[kept]
        for i in kept[np.argsort(-lengths, kind="stable")[:LONGEST]]:
            entry = int(rows.length[i]), -(self.seen + int(i)), place(int(i))
            if len(self.longest) < LONGEST:
                heapq.heappush(self.longest, entry)
            else:
                heapq.heappushpop(self.longest, entry)
        self.seen += len(rows)


def summary(facts: dict[str, Any]) -> Iterable[str]:
    """Return the lines that tell people what was tokenised: a table, and what to look at."""
    yield f"{'split':<12}{'rows':>12}{'tokens':>14}{'trained':>14}{'truncated':>12}{'dropped':>10}"
    for split, n in facts["splits"].items():
        yield (
            f"{split:<12}{n['rows']:>12,}{n['tokens']:>14,}{n['trained_tokens']:>14,}"
            f"{n['truncated_rows']:>12,}{n['dropped_rows']:>10,}"
        )
    longest = ", ".join(f"{row['row']} ({row['tokens']:,})" for row in facts["longest"])
    if longest:
        yield f"longest rows in tokens: {longest}"
    if facts["dropped"]["rows"]:
        yield f"dropped for their length: {facts['dropped']['rows']:,}, {_few(facts['dropped'])}"
    cut = sum(n["truncated_tokens"] for n in facts["splits"].values())
    if cut:
        yield f"{facts['truncated_rows']:,} rows were cut by {cut:,} tokens to max_length"
    untrained = sum(n["answers"] - n["trained_answers"] for n in facts["splits"].values())
    if untrained:
        yield f"{untrained:,} earlier answers are not trained: docs/data.md says when and why"
    bare = sum(n["rows_without_bos"] for n in facts["splits"].values())
    if bare:
        yield (
            f"{bare:,} rows do not begin with the token that the tokenizer puts before every text:"
            " the chat template leaves it out"
        )


def _few(dropped: dict[str, Any]) -> str:
    more = " …" if dropped["rows"] > len(dropped["first"]) else ""
    return f"first: {', '.join(dropped['first'])}{more}"
