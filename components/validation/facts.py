"""What people and gates want to know about the data set."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from components.validation.identity import SPLITS
from components.validation.outcome import Outcome
from components.validation.rows import Row
from components.validation.settings import ValidationSettings

SHOWN = 5
"""How many cleaned rows are shown before and after."""


def gather(
    outcome: Outcome, splits: Sequence[str], rows_in: int, settings: ValidationSettings
) -> dict[str, Any]:
    """Return the facts of the dataset artefact (JSON values). Lengths are in characters."""
    everything = [*outcome.kept, *(entry.row for entry in outcome.quarantined)]
    everything.sort(key=lambda row: (row.source, row.row))
    return {
        "rows": {
            "in": rows_in,
            "kept": len(outcome.kept),
            "quarantined": len(outcome.quarantined),
        },
        "quarantined": dict(
            sorted(Counter(entry.expectation for entry in outcome.quarantined).items())
        ),
        "warnings": {name: count for name, count in sorted(outcome.warnings.items()) if count},
        "expectations": _expectations(outcome),
        "splits": {name: splits.count(name) for name in SPLITS},
        "labels": _labels(outcome.kept, splits),
        "length": length_summary(outcome.kept),
        "html_entities": sum(row.entities for row in everything),
        "cleaned": _cleaned(everything),
        "duplicate_key": settings.duplicate_key,
    }


def length_summary(rows: Sequence[Row]) -> dict[str, float]:
    """Return count, mean and percentiles of the texts' lengths."""
    import numpy as np

    lengths = np.array([len(row.example.text) for row in rows if row.example is not None] or [0])
    points = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    summary = {name: float(np.percentile(lengths, point)) for name, point in points.items()}
    return summary | {"mean": round(float(lengths.mean()), 3)}


def _expectations(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "expectation": finding.check.name,
            "column": finding.check.arguments["column"],
            "says": finding.check.says,
            "severity": finding.check.severity,
            "success": finding.success,
            "unmet": len(finding.unmet),
        }
        for finding in outcome.findings
    ]


def _labels(rows: Sequence[Row], splits: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the labels of classification rows by split; empty for free answers."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    names: tuple[str, ...] = ()
    for row, split in zip(rows, splits, strict=True):
        if row.example is not None and row.example.choices:
            names = row.example.choices
            counts[split][row.example.answer] += 1
    if not names:
        return {}
    return {split: {name: counts[split][name] for name in names} for split in SPLITS}


def _cleaned(rows: Sequence[Row]) -> dict[str, Any]:
    changed = [row for row in rows if row.before != row.after]
    telling = sorted(changed, key=lambda row: not row.entities)[:SHOWN]
    examples = [
        {"row": row.place, "before": row.before[name], "after": row.after[name]}
        for row in telling
        for name in row.before
        if row.before[name] != row.after[name]
    ]
    return {"rows": len(changed), "examples": examples}
