"""What must hold of every tokenised row; a fault stops the line and names the rows."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from components.contracts.errors import DataError
from components.tokenization.columns import Flags, Ledger
from components.tokenization.settings import TokenizationSettings

SHOWN = 5

Place = Callable[[int], str]
"""Tells file and row of a line of the batch."""


@dataclass(frozen=True)
class Rule:
    """A fault of rows: what to say, what to do, and which rows have it."""

    problem: str
    fix: str
    broken: Callable[[Ledger, TokenizationSettings], Flags]


RULES = (
    Rule(
        "no token is trained",
        "look at the answers of these rows, which may be empty, and at what the chat template "
        "puts between {% generation %} and {% endgeneration %}",
        lambda rows, _: rows.trained_tokens == 0,
    ),
    Rule(
        "the end-of-sequence token is not trained, so the model would not learn to stop",
        "mend the chat template of the base model",
        # A plain text that was cut has no end to learn.
        lambda rows, _: (
            ~rows.eos_trained & ((rows.prompt_tokens > 0) | (rows.truncated_tokens == 0))
        ),
    ),
    Rule(
        "the beginning-of-sequence token is there twice",
        "mend the chat template of the base model, or take the token out of the texts",
        lambda rows, _: rows.bos_doubled,
    ),
    Rule(
        "an earlier answer is written otherwise once the conversation goes on, so it cannot be "
        "trained as inference would ask for it",
        "make a row of each answer, or set tokenization.rewritten_turns: skip, or "
        "tokenization.completion_only_loss: true",
        lambda rows, settings: (rows.rewritten > 0) & (settings.rewritten_turns == "error"),
    ),
)


@dataclass
class Audit:
    """Collects the faults of rows by rule, then raises them all at once."""

    settings: TokenizationSettings
    rules: tuple[Rule, ...] = RULES
    places: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    fixes: dict[str, str] = field(default_factory=dict)
    longest: int = 0

    def admit(self, rows: Ledger, place: Place) -> Flags:
        """Return which rows are to be kept [rows]; note the faults of these."""
        long = rows.needed > self.settings.max_length
        keep = ~long if self.settings.truncation == "drop" else np.ones(len(rows), np.bool_)
        if self.settings.truncation != "drop" and long.any():
            self.longest = max(self.longest, int(rows.needed.max()))
            lengths = rows.needed
            self._note(*self._too_long(), long, lambda i: f"{place(i)} ({lengths[i]} tokens)")
        for rule in self.rules:
            broken = keep & rule.broken(rows, self.settings)
            if broken.any():
                self._note(rule.problem, rule.fix, broken, place)
        return keep

    def check(self) -> None:
        """Raise `DataError` if any row had a fault."""
        if not self.counts:
            return
        lines = ["the tokenised rows cannot be trained on:"]
        for problem, places in self.places.items():
            number = self.counts[problem]
            more = " …" if number > SHOWN else ""
            rows = "1 row" if number == 1 else f"{number:,} rows"
            lines.append(f"  {problem}: {rows}: {', '.join(places)}{more}")
        raise DataError("\n".join(lines), fix="\n  → ".join(self.fixes.values()))

    def _too_long(self) -> tuple[str, str]:
        most = self.settings.max_length
        if self.settings.truncation == "error":
            return (
                f"longer than max_length ({most} tokens)",
                f"set tokenization.max_length to {self.longest} or more, or "
                "tokenization.truncation to drop or truncate_prompt",
            )
        return (
            f"the answer alone would be cut at {most} tokens",
            f"set tokenization.max_length to {self.longest} or more, or truncation to drop",
        )

    def _note(self, problem: str, fix: str, broken: Flags, place: Place) -> None:
        shown = self.places.setdefault(problem, [])
        shown += [place(int(i)) for i in np.flatnonzero(broken)[: SHOWN - len(shown)]]
        self.counts[problem] = self.counts.get(problem, 0) + int(broken.sum())
        self.fixes[problem] = fix
