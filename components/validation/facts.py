"""What people and gates want to know about the data set."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.formats.read import used_columns
from components.formats.settings import FormatSettings
from components.validation.clean import clean
from components.validation.identity import SPLITS
from components.validation.outcome import Outcome
from components.validation.rows import Rows
from components.validation.settings import ValidationSettings
from components.validation.suite import Finding

SHOWN = 5
"""How many rows stand as examples."""

LETTERS = 300
"""Longer texts are cut in examples."""

BINS = 20
"""Bars of the histogram of lengths."""


def gather(
    outcome: Outcome,
    splits: Any,
    drift: dict[str, Any],
    formats: FormatSettings,
    settings: ValidationSettings,
) -> dict[str, Any]:
    """Return the facts of the dataset artefact (JSON values). Lengths are in characters."""
    lengths = text_lengths(outcome)
    names = [outcome.why(row)[0].check.name for row in outcome.quarantined.tolist()]
    return {
        "rows": {
            "in": len(outcome.rows),
            "kept": len(outcome.kept),
            "quarantined": len(outcome.quarantined),
        },
        "quarantined": dict(sorted(Counter(names).items())),
        "quarantined_rows": _quarantined_rows(outcome),
        "warnings": {name: count for name, count in sorted(outcome.warnings.items()) if count},
        "warned_rows": _warned_rows(outcome),
        "expectations": [_expectation(finding) for finding in outcome.findings],
        "splits": {name: int((splits == number).sum()) for number, name in enumerate(SPLITS)},
        "labels": labels(outcome, splits),
        "length": length_summary(lengths),
        "length_histogram": histogram(lengths),
        "html_entities": int(outcome.rows.table["entities"].to_numpy().sum()),
        "cleaned": _cleaned(outcome.rows, formats, settings),
        "drift": drift,
        "duplicate_key": settings.duplicate_key,
        "format": formats.model_dump(mode="json"),
    }


def text_lengths(outcome: Outcome) -> Any:
    """Return the lengths of the kept texts in characters."""
    import pyarrow.compute as pc

    lengths = pc.utf8_length(outcome.rows.strings("text", outcome.kept)).to_numpy(False)
    return lengths if len(lengths) else np.zeros(1)


def length_summary(lengths: Any) -> dict[str, float]:
    """Return mean and percentiles of lengths."""
    points = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    summary = {name: float(np.percentile(lengths, point)) for name, point in points.items()}
    return summary | {"mean": round(float(lengths.mean()), 3)}


def histogram(lengths: Any) -> list[dict[str, int]]:
    """Return bars of equal width: `from` and `to` (exclusive) in characters, and the rows."""
    width = max(1, -(-(int(lengths.max()) + 1) // BINS))
    counts = np.bincount(lengths.astype(np.int64) // width)
    return [
        {"from": number * width, "to": (number + 1) * width, "rows": int(count)}
        for number, count in enumerate(counts)
    ]


def labels(outcome: Outcome, splits: Any) -> dict[str, dict[str, int]]:
    """Count the labels of classification rows by split; empty for free answers."""
    names = label_names(outcome)
    if not names:
        return {}
    targets = outcome.rows.numbers("target", outcome.kept)
    return {
        split: {
            name: int(((targets == target) & (splits == number)).sum())
            for target, name in enumerate(names)
        }
        for number, split in enumerate(SPLITS)
    }


def label_names(outcome: Outcome) -> tuple[str, ...]:
    """Return the label words, if all rows choose among the same ones."""
    kept = outcome.kept
    if not len(kept):
        return ()
    choices = outcome.rows.table["choices"].take(kept[:1])[0].as_py()
    return tuple(choices or ())


def _expectation(finding: Finding) -> dict[str, Any]:
    check = finding.check
    fact = {
        "expectation": check.name,
        "column": check.column,
        "says": check.says,
        "severity": check.severity,
        "success": finding.success,
        "unmet": finding.unmet,
    }
    return fact if finding.figure is None else fact | {"figure": round(finding.figure, 6)}


def _quarantined_rows(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    """Return for each expectation the first rows that were quarantined under it."""
    first: dict[str, dict[int, str]] = {}
    for row in outcome.quarantined.tolist():
        finding, value = outcome.why(row)
        rows = first.setdefault(finding.check.name, {})
        if len(rows) < SHOWN:
            rows[row] = value
    return {name: shown(outcome.rows, rows) for name, rows in sorted(first.items())}


def _warned_rows(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    """Return for each expectation that only warns the first rows that do not meet it.

    A figure of the whole data set is about no row: it stands with its value and what was expected.
    """
    first: dict[str, dict[int, str]] = {}
    for finding in outcome.findings:
        if finding.check.severity == "warn" and len(finding.faults):
            pairs = zip(finding.faults.index.tolist(), finding.faults.values, strict=True)
            rows = first.setdefault(finding.check.name, {})
            rows |= dict(list(pairs)[: SHOWN - len(rows)])
    found = {name: shown(outcome.rows, rows) for name, rows in first.items()}
    for finding in outcome.findings:
        if finding.check.severity == "warn" and finding.figure is not None and not finding.success:
            value = f"{finding.figure:.4g} ({finding.check.says})"
            found.setdefault(finding.check.name, []).append({"row": "", "value": value, "text": ""})
    return dict(sorted(found.items()))


def shown(rows: Rows, found: dict[int, str]) -> list[dict[str, Any]]:
    """Return place, value found and text of a few rows."""
    texts = rows.strings("text", np.array([*found], dtype=np.int64)).to_pylist()
    return [
        {"row": rows.place(row), "value": value[:LETTERS], "text": (text or "")[:LETTERS]}
        for (row, value), text in zip(found.items(), texts, strict=True)
    ]


def _cleaned(rows: Rows, formats: FormatSettings, settings: ValidationSettings) -> dict[str, Any]:
    """Count the rows that cleaning changed and show some before and after, entities first."""
    changed = rows.table["changed"].to_numpy()
    entities = rows.table["entities"].to_numpy()
    telling = [*np.flatnonzero(changed & entities), *np.flatnonzero(changed & ~entities)][:SHOWN]
    examples = [
        {"row": rows.place(row), "before": before, "after": after}
        for row, fields in zip(telling, rows.as_they_came(telling), strict=True)
        for before, after in _changes(fields, used_columns(formats), settings)
    ]
    return {"rows": int(changed.sum()), "examples": examples}


def _changes(
    fields: dict[str, Any], names: Sequence[str], settings: ValidationSettings
) -> list[tuple[Any, Any]]:
    pairs = [(fields.get(name), clean(fields.get(name), settings)) for name in names]
    return [(before, after) for before, after in pairs if before != after]
