"""What became of every row: kept in a split, or quarantined under a named expectation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.validation.rows import Rows
from components.validation.suite import Finding

KEPT = -1


@dataclass
class Outcome:
    """Rows in = kept + quarantined, always; `findings` are those of every suite.

    `reason` holds for every row the number of the finding it was quarantined under, or `KEPT`, and
    `found` the value that was found in a quarantined row.
    """

    rows: Rows
    reason: Any = None
    found: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.reason = np.full(len(self.rows), KEPT, dtype=np.int16)

    @property
    def kept(self) -> Any:
        """The rows that are still in, rising."""
        return np.flatnonzero(self.reason == KEPT)

    @property
    def quarantined(self) -> Any:
        """The rows that were taken out, rising."""
        return np.flatnonzero(self.reason != KEPT)

    def why(self, row: int) -> tuple[Finding, str]:
        """Return the finding that a row was quarantined under, and the value found."""
        return self.findings[self.reason[row]], self.found[row]

    def take_out(self, findings: Sequence[Finding]) -> None:
        """Quarantine the rows that `findings` are about, each under the first of them."""
        for finding in findings:
            if finding.check.severity == "warn":
                self.warnings[finding.check.name] += len(finding.faults)
            else:
                self._take_out(finding, len(self.findings))
            self.findings.append(finding)

    def note_totals(self, findings: Sequence[Finding]) -> None:
        """Keep findings about the whole data set: they are not about single rows."""
        self.warnings.update(f.check.name for f in findings if not f.success)
        self.findings += findings

    def _take_out(self, finding: Finding, number: int) -> None:
        for row, value in zip(finding.faults.index.tolist(), finding.faults.values, strict=True):
            if self.reason[row] == KEPT:
                self.reason[row] = number
                self.found[row] = value
