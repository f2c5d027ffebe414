"""The expectations: ours by name, each a Great Expectations class with a severity.

Faults that need more than one column or row (a label that is not known, a text seen before) are put
into a column of their own by `frames`, and that column is expected to be null: so the value that
Great Expectations reports says what is wrong.
"""

from dataclasses import dataclass
from typing import Any

from components.formats.read import columns
from components.formats.settings import FormatSettings
from components.validation.identity import SPLITS
from components.validation.settings import ValidationSettings

TEXT, ANSWER = "text of the row", "answer of the row"
FORMAT_FAULT, LABEL_FAULT = "format fault", "label fault"
SEEN_BEFORE, OTHER_LABELS = "text seen before at", "labels on this text"
KEPT, QUARANTINED_SHARE = "rows kept", "share of rows quarantined"

DAMAGE = r"[\x00-\x08\x80-\x9f\ufffd]"
"""Control characters that come from wrong decoding, and the replacement character."""

ENTITY = r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});"


@dataclass(frozen=True)
class Check:
    """An expectation under our name: `kind` is a class name in great_expectations.expectations."""

    name: str
    severity: str
    kind: str
    says: str
    arguments: dict[str, Any]


def column_checks(settings: FormatSettings) -> list[Check]:
    """Expect the columns that the format needs."""
    return [
        Check(
            "columns", "stop", "ExpectColumnToExist", f"there is a column {name}", {"column": name}
        )
        for name in columns(settings)
    ]


def row_checks(format_settings: FormatSettings, settings: ValidationSettings) -> list[Check]:
    """Expectations on each row by itself; a row is quarantined under the first that it fails."""
    null, match, clean = (
        "ExpectColumnValuesToBeNull",
        "ExpectColumnValuesToMatchRegex",
        "ExpectColumnValuesToNotMatchRegex",
    )
    severity = settings.severity
    checks = [
        Check(
            "not_null", severity.not_null, "ExpectColumnValuesToNotBeNull", says, {"column": name}
        )
        for name in columns(format_settings)
        for says in [f"{name} is there in every row"]
    ]
    checks += [
        Check("format", severity.format, null, "the row fits the format", {"column": FORMAT_FAULT}),
        Check("label", severity.label, null, "the label is known", {"column": LABEL_FAULT}),
        _regex("not_empty", severity.not_empty, match, "the text is not empty", TEXT, r"\S"),
    ]
    if format_settings.kind != "text":
        says = "the answer is not empty"
        checks.append(_regex("not_empty", severity.not_empty, match, says, ANSWER, r"\S"))
    says = "the text was decoded rightly (no U+FFFD, no C1 controls)"
    checks.append(_regex("encoding", severity.encoding, clean, says, TEXT, DAMAGE))
    says = "the text holds no HTML entities"
    checks.append(_regex("html", severity.html, clean, says, TEXT, ENTITY))
    return checks


def repeat_checks(settings: ValidationSettings) -> list[Check]:
    """Expectations on rows that share a text, among the rows that are sound by themselves."""
    severity, null = settings.severity, "ExpectColumnValuesToBeNull"
    return [
        Check(
            "label_conflict",
            severity.label_conflict,
            null,
            "a text has one label only",
            {"column": OTHER_LABELS},
        ),
        Check(
            "duplicate",
            severity.duplicate,
            null,
            "no text comes twice (the first one stays)",
            {"column": SEEN_BEFORE},
        ),
    ]


def total_checks(labels: tuple[str, ...], settings: ValidationSettings) -> list[Check]:
    """Expectations on the data set as it will be written."""
    severity, shares = settings.severity, settings.splits
    checks = [
        _between("min_rows", severity.min_rows, KEPT, settings.min_rows, None),
        _between(
            "quarantined_share",
            severity.quarantined_share,
            QUARANTINED_SHARE,
            0,
            settings.max_quarantined_share,
        ),
    ]
    checks += [
        _between("split_rows", severity.split_rows, rows_in(split), 1, None)
        for split in SPLITS
        if getattr(shares, split) > 0
    ]
    checks += [
        _between("label_share", severity.label_share, share_of(name), settings.min_label_share, 1)
        for name in labels
    ]
    return checks


def rows_in(split: str) -> str:
    """Name the column with the number of rows of a split."""
    return f"rows in {split}"


def share_of(label: str) -> str:
    """Name the column with the share of a label among the rows kept."""
    return f"share of label {label}"


def _regex(name: str, severity: str, kind: str, says: str, column: str, regex: str) -> Check:
    return Check(name, severity, kind, says, {"column": column, "regex": regex})


def _between(name: str, severity: str, column: str, low: float, high: float | None) -> Check:
    says = f"{column}: at least {low:g}" if high is None else f"{column}: {low:g} to {high:g}"
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Check(name, severity, "ExpectColumnValuesToBeBetween", says, arguments)
