"""What is expected, under our own names, each with a severity and a sentence.

A check about rows has a column of faults: null where the row is sound, else what was found. A check
about the whole has a column with one figure. `custom` gives each its Great Expectations class.
"""

from dataclasses import dataclass, field
from typing import Any

from components.formats.read import columns
from components.formats.settings import FormatSettings
from components.validation.identity import SPLITS
from components.validation.settings import ValidationSettings

FORMAT, LABEL = "format fault", "label fault"
EMPTY_TEXT, EMPTY_ANSWER, EMPTY_REJECTED = "empty text", "empty answer", "empty rejected answer"
KEPT, QUARANTINED_SHARE = "rows kept", "share of rows quarantined"


@dataclass(frozen=True)
class Check:
    """An expectation: the recipe's name for it, what happens if it is not met, and its sentence.

    `arguments` are those of its Great Expectations class besides `column`.
    """

    name: str
    severity: str
    column: str
    says: str
    arguments: dict[str, Any] = field(default_factory=dict)


def column_checks(settings: FormatSettings, validation: ValidationSettings) -> list[Check]:
    """Expect the columns that format and splits need."""
    names = dict.fromkeys(columns(settings))
    if validation.splits.group_by is not None:
        names |= {validation.splits.group_by: None}
    return [Check("columns", "stop", name, f"there is a column {name}") for name in names]


def row_checks(format_settings: FormatSettings, settings: ValidationSettings) -> list[Check]:
    """Expectations on each row by itself; a row is quarantined under the first that it fails."""
    severity = settings.severity
    checks = [
        Check("not_null", severity.not_null, missing(name), f"{name} is there in every row")
        for name in columns(format_settings)
    ]
    checks += [
        Check("format", severity.format, FORMAT, "the row fits the format"),
        Check("label", severity.label, LABEL, "the label is known"),
        Check("not_empty", severity.not_empty, EMPTY_TEXT, "the text is not empty"),
    ]
    if format_settings.kind != "text":
        says = "the answer is not empty"
        checks.append(Check("not_empty", severity.not_empty, EMPTY_ANSWER, says))
    if format_settings.kind == "preference":
        says = "the rejected answer is not empty"
        checks.append(Check("not_empty", severity.not_empty, EMPTY_REJECTED, says))
    checks += [
        Check(name, getattr(severity, name), name, says)
        for name, says in text_sentences(settings).items()
    ]
    return checks


def text_sentences(settings: ValidationSettings) -> dict[str, str]:
    """Return what is expected of the text of a row, by expectation, as far as the recipe asks."""
    says = {
        "encoding": "the text was decoded rightly (no U+FFFD, no C1 controls, no mojibake)",
        "html": "the text holds no HTML entities or tags",
    }
    if bounds := _bounds(settings):
        says["length"] = f"the text has {bounds}"
    if settings.scripts:
        says["script"] = (
            f"at least {settings.min_script_share:.0%} of the letters are {_list(settings.scripts)}"
        )
    if settings.languages:
        says["language"] = f"the text is written in {_list(settings.languages)}"
    if settings.personal_data or settings.presidio:
        kinds = [*settings.personal_data, *(["what presidio finds"] if settings.presidio else [])]
        says["personal_data"] = f"the text holds no personal data ({', '.join(kinds)})"
    if settings.max_toxic_share < 1:
        says["toxicity"] = (
            f"at most {settings.max_toxic_share:.0%} of the words are on the list of toxic words"
        )
    return says


def repeat_checks(settings: ValidationSettings) -> list[Check]:
    """Expectations on rows that share a text, among the rows that are sound by themselves."""
    severity, near = settings.severity, settings.near_duplicate_threshold
    checks = [
        Check(
            "label_conflict", severity.label_conflict, "label_conflict", "a text has one label only"
        ),
        Check(
            "duplicate",
            severity.duplicate,
            "duplicate",
            "no text comes twice (the first one stays)",
        ),
    ]
    if near is not None:
        says = f"no text comes again with small changes (similarity of {near:g} or more)"
        checks.append(Check("near_duplicate", severity.near_duplicate, "near_duplicate", says))
    return checks


def split_checks(settings: ValidationSettings) -> list[Check]:
    """Expectations on rows of one split against other splits, past test rows, evaluation sets."""
    severity = settings.severity
    says = {
        "leakage": "no text stands in two splits (the row of the test split stays)",
        "near_leakage": "no text stands nearly the same in two splits (the test's row stays)",
        "holdout": "no row to train on is, or nearly is, a test row of an earlier run",
        "contamination": "no row to train on shares its text, or "
        f"{settings.contamination_words} words in a row, with "
        f"{_list(tuple(one.path for one in settings.contamination))}",
    }
    if settings.near_duplicate_threshold is None:
        del says["near_leakage"]
    if not settings.contamination:
        del says["contamination"]
    return [Check(name, getattr(severity, name), name, text) for name, text in says.items()]


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


def drift_checks(figures: dict[str, float], settings: ValidationSettings) -> list[Check]:
    """Expectations on the distance from the last accepted data; `figures` by their names."""
    most = {"PSI": settings.max_psi, "KS": settings.max_ks}
    return [
        _between("drift", settings.severity.drift, name, 0, most[name.split()[0]])
        for name in figures
    ]


def missing(column: str) -> str:
    """Name the column of faults for null in a column of the source."""
    return f"no {column}"


def rows_in(split: str) -> str:
    """Name the column with the number of rows of a split."""
    return f"rows in {split}"


def share_of(label: str) -> str:
    """Name the column with the share of a label among the rows kept."""
    return f"share of label {label}"


def _between(name: str, severity: str, column: str, low: float, high: float | None) -> Check:
    says = f"{column}: at least {low:g}" if high is None else f"{column}: {low:g} to {high:g}"
    return Check(name, severity, column, says, {"min_value": low, "max_value": high})


def _bounds(settings: ValidationSettings) -> str:
    parts = []
    for unit in ("characters", "words"):
        low, high = getattr(settings, f"min_{unit}"), getattr(settings, f"max_{unit}")
        parts += [f"at least {low:,} {unit}"] if low is not None else []
        parts += [f"at most {high:,} {unit}"] if high is not None else []
    return _list(tuple(parts), "and")


def _list(names: tuple[str, ...], word: str = "or") -> str:
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
