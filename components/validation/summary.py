"""What came of the rows, on one page of a terminal."""

from collections.abc import Iterator
from typing import Any

SHOWN = 3
"""How many rows are named for each expectation."""


def summary(facts: dict[str, Any]) -> list[str]:
    """Say what was kept, what was taken out and why, and what to look at."""
    return [
        _rows(facts),
        *_found("quarantined", facts["quarantined"], facts["quarantined_rows"]),
        *_found("warning", facts["warnings"], facts["warned_rows"]),
        *_cleaned(facts),
        *_drift(facts["drift"]),
        *_labels(facts["labels"]),
    ]


def _rows(facts: dict[str, Any]) -> str:
    rows, splits = facts["rows"], facts["splits"]
    parts = ", ".join(f"{name} {count:,}" for name, count in splits.items())
    return (
        f"{rows['in']:,} rows in, {rows['kept']:,} kept ({parts}), "
        f"{rows['quarantined']:,} quarantined"
    )


def _found(
    word: str, counts: dict[str, int], rows: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    for name, count in counts.items():
        first = rows.get(name, ())[:SHOWN]
        named = "; ".join(map(_one, first))
        more = ", …" if count > len(first) and first else ""
        yield f"{word}: {count:,} for {name}" + (f": {named}{more}" if named else "")


def _one(found: dict[str, Any]) -> str:
    """Return place and value of what was found; a figure has no place, an empty text no value."""
    row, value = found["row"], found["value"][:60]
    return f"{row} ({value})" if row and value else row or value


def _cleaned(facts: dict[str, Any]) -> Iterator[str]:
    if facts["cleaned"]["rows"] or facts["html_entities"]:
        yield (
            f"cleaned: {facts['cleaned']['rows']:,} rows; "
            f"{facts['html_entities']:,} rows came with HTML entities"
        )


def _drift(drift: dict[str, float]) -> Iterator[str]:
    if drift:
        parts = ", ".join(
            f"{name.replace('_', ' ')} {figure:.3g}" for name, figure in drift.items()
        )
        yield f"drift from the last accepted data: {parts}"


def _labels(labels: dict[str, dict[str, int]]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for split in labels.values():
        for name, count in split.items():
            counts[name] = counts.get(name, 0) + count
    total = sum(counts.values())
    if total:
        yield "labels: " + ", ".join(f"{name} {n / total:.1%}" for name, n in counts.items())
