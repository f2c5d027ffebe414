"""What became of every row: kept in a split, or quarantined under a named expectation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.validation.rows import Row
from components.validation.suite import Finding


@dataclass(frozen=True)
class Quarantined:
    """A row that was taken out, the first expectation it does not meet, and the value found."""

    row: Row
    expectation: str
    value: str


@dataclass
class Outcome:
    """Rows in = `kept` + `quarantined`, always; `findings` are those of every suite."""

    kept: list[Row]
    quarantined: list[Quarantined] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)

    def take_out(self, findings: Sequence[Finding]) -> None:
        """Quarantine the kept rows that `findings` (by index into `kept`) are about."""
        reasons: dict[int, tuple[str, str]] = {}
        for finding in findings:
            if finding.check.severity == "warn":
                self.warnings[finding.check.name] += len(finding.unmet)
                continue
            for unmet in finding.unmet:
                reasons.setdefault(unmet.index, (finding.check.name, unmet.value))
        self.quarantined += [Quarantined(self.kept[i], *reasons[i]) for i in sorted(reasons)]
        self.kept = [row for i, row in enumerate(self.kept) if i not in reasons]
        self.findings += findings

    def note_totals(self, findings: Sequence[Finding]) -> None:
        """Keep findings about the whole data set: they are not about single rows."""
        self.warnings.update(f.check.name for f in findings if not f.success)
        self.findings += findings
