"""The validate step: clean, check, quarantine and split the rows."""

from collections.abc import Sequence
from pathlib import Path

from components.contracts.artefacts import need_space
from components.contracts.events import Context
from components.contracts.kinds import Dataset, Raw
from components.formats.detect import resolve_for
from components.formats.example import Example
from components.formats.settings import FormatSettings
from components.validation import expectations, frames
from components.validation.docs import write_docs
from components.validation.facts import gather
from components.validation.identity import duplicate_key, split_of
from components.validation.outcome import Outcome
from components.validation.rows import Row, read_rows
from components.validation.settings import ValidationSettings
from components.validation.stop import missing_columns, stop_if_needed
from components.validation.suite import Suites
from components.validation.tables import write_tables


def validate(
    raw: Raw,
    format: FormatSettings,
    validation: ValidationSettings,
    *,
    out: Path,
    context: Context,
) -> Dataset:
    """Write a table a split, `quarantine.parquet` and Data Docs (`docs/`).

    Rows in = kept + quarantined. Raises `DataError` naming expectation, file, row and value when an
    expectation with severity `stop` is not met.
    """
    format = resolve_for(raw, format)
    suites = Suites()
    check_columns(suites, raw, format)
    outcome = Outcome(list(read_rows(raw, format, validation)))
    rows_in = len(outcome.kept)
    check_rows(suites, outcome, format, validation)
    check_repeats(suites, outcome, validation)
    splits = [split_of(_key(row, validation), validation.splits) for row in outcome.kept]
    check_totals(suites, outcome, splits, rows_in, validation)
    if rows_in != len(outcome.kept) + len(outcome.quarantined):
        raise AssertionError("a row was lost between the source and the data set")
    need_space(out.parent, 3 * raw.rows.stat().st_size, "the data set")
    with Dataset.write(out) as draft:
        write_tables(draft.folder, outcome, splits)
        draft.facts = gather(outcome, splits, rows_in, validation)
        draft.facts["format"] = format.model_dump(mode="json")
        write_docs(draft.folder / "docs", suites.results, draft.facts)
    for line in summary(draft.facts):
        context.events.note(line)
    return Dataset.open(out)


def check_columns(suites: Suites, raw: Raw, format_settings: FormatSettings) -> None:
    """Expect the columns that the format needs; without them nothing can be read."""
    columns = raw.facts["columns"]
    checks = expectations.column_checks(format_settings)
    missing_columns(suites.run("columns", checks, frames.column_frame(columns)), columns)


def check_rows(
    suites: Suites, outcome: Outcome, format_settings: FormatSettings, settings: ValidationSettings
) -> None:
    """Check each row by itself."""
    checks = expectations.row_checks(format_settings, settings)
    findings = suites.run("rows", checks, frames.row_frame(outcome.kept))
    stop_if_needed(findings, outcome.kept, len(outcome.kept))
    outcome.take_out(findings)


def check_repeats(suites: Suites, outcome: Outcome, settings: ValidationSettings) -> None:
    """Check the sound rows against each other."""
    rows = outcome.kept
    frame = frames.repeat_frame(rows, examples(rows), settings.duplicate_key)
    findings = suites.run("repeats", expectations.repeat_checks(settings), frame)
    stop_if_needed(findings, rows, len(rows) + len(outcome.quarantined))
    outcome.take_out(findings)


def check_totals(
    suites: Suites,
    outcome: Outcome,
    splits: Sequence[str],
    rows_in: int,
    settings: ValidationSettings,
) -> None:
    """Check the figures of what is left."""
    kept = examples(outcome.kept)
    labels = kept[0].choices if kept else ()
    frame = frames.total_frame(rows_in, kept, splits, labels)
    findings = suites.run("totals", expectations.total_checks(labels, settings), frame)
    stop_if_needed(findings, (), rows_in)
    outcome.note_totals(findings)


def examples(rows: Sequence[Row]) -> list[Example]:
    """Return the examples of sound rows."""
    return [row.example for row in rows if row.example is not None]


def summary(facts: dict[str, dict[str, int]]) -> list[str]:
    """Say in a few lines what came of the rows."""
    rows, splits = facts["rows"], facts["splits"]
    lines = [
        f"{rows['in']:,} rows in, {rows['kept']:,} kept ("
        + ", ".join(f"{name} {count:,}" for name, count in splits.items())
        + f"), {rows['quarantined']:,} quarantined"
    ]
    lines += [f"quarantined: {count:,} for {name}" for name, count in facts["quarantined"].items()]
    lines += [f"warning: {count:,} for {name}" for name, count in facts["warnings"].items()]
    return lines


def _key(row: Row, settings: ValidationSettings) -> str:
    text = row.example.text if row.example else ""
    return duplicate_key(text, settings.duplicate_key)
