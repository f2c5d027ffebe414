"""What must hold of every tokenised row; a fault stops the line and names the rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from components.contracts.errors import DataError
from components.tokenization.encode import Row
from components.tokenization.settings import TokenizationSettings

SHOWN = 5


@dataclass(frozen=True)
class Rule:
    """A fault of a row: what to say, what to do, and how to see it."""

    problem: str
    fix: str
    broken: Callable[[Row], bool]


RULES = (
    Rule(
        "no token is trained",
        "look at the answers of these rows: they may be empty",
        lambda line: line["trained_tokens"] == 0,
    ),
    Rule(
        "the end-of-sequence token is not trained, so the model would not learn to stop",
        "mend the chat template of the base model",
        # A plain text that was cut has no end to learn.
        lambda line: (
            not line["eos_trained"] and (line["prompt_tokens"] > 0 or line["truncated_tokens"] == 0)
        ),
    ),
    Rule(
        "the beginning-of-sequence token is there twice",
        "mend the chat template of the base model, or take the token out of the texts",
        lambda line: bool(line["bos_doubled"]),
    ),
)


@dataclass
class Ledger:
    """Collects the faults of rows by rule, then raises them all at once."""

    settings: TokenizationSettings
    faults: dict[str, list[str]] = field(default_factory=dict)
    fixes: dict[str, str] = field(default_factory=dict)
    longest: int = 0

    def admit(self, line: Row, place: str) -> bool:
        """Return whether the row is to be kept; note its faults under `place` (file:row)."""
        length = line["length"]
        if length > self.settings.max_length:
            if self.settings.truncation == "drop":
                return False
            self._note_length(line, place)
        for rule in RULES:
            if rule.broken(line):
                self._note(rule.problem, rule.fix, place)
        return True

    def check(self) -> None:
        """Raise `DataError` if any row had a fault."""
        if not self.faults:
            return
        lines = ["the tokenised rows cannot be trained on:"]
        for problem, places in self.faults.items():
            more = " …" if len(places) > SHOWN else ""
            lines.append(f"  {problem}: {_count(places)}: {', '.join(places[:SHOWN])}{more}")
        raise DataError("\n".join(lines), fix="\n  → ".join(self.fixes.values()))

    def _note_length(self, line: Row, place: str) -> None:
        self.longest = max(self.longest, line["length"])
        if self.settings.truncation == "error":
            problem = f"longer than max_length ({self.settings.max_length} tokens)"
            fix = (
                f"set tokenization.max_length to {self.longest} or more, or "
                "tokenization.truncation to drop or truncate_prompt"
            )
        else:
            problem = f"the answer alone would be cut at {self.settings.max_length} tokens"
            fix = f"set tokenization.max_length to {self.longest} or more, or truncation to drop"
        self._note(problem, fix, f"{place} ({line['length']} tokens)")

    def _note(self, problem: str, fix: str, place: str) -> None:
        self.faults.setdefault(problem, []).append(place)
        self.fixes[problem] = fix


def _count(places: Iterable[str]) -> str:
    number = len(list(places))
    return "1 row" if number == 1 else f"{number:,} rows"
