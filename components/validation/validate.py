"""The validate step: clean, check, quarantine and split the rows."""

from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.artefacts import need_space, write_json
from components.contracts.events import Context
from components.contracts.kinds import Dataset, Raw
from components.formats.detect import resolve_for
from components.formats.settings import FormatSettings
from components.validation import checks, repeats
from components.validation.accepted import PROFILE, Accepted, read_accepted
from components.validation.docs import write_docs
from components.validation.drift import bounded, drift_of, profile_of
from components.validation.evaluation_sets import read_sets
from components.validation.facts import gather, label_names
from components.validation.faults import Faults
from components.validation.guards import find_contamination, find_holdout
from components.validation.identity import SPLITS
from components.validation.leaks import find_leakage, find_near_leakage
from components.validation.outcome import Outcome
from components.validation.rows import Rows, read_rows
from components.validation.settings import ValidationSettings
from components.validation.similar import Similar
from components.validation.splits import TEST, assign
from components.validation.stop import missing_columns, stop_if_needed
from components.validation.suite import Suites
from components.validation.summary import summary
from components.validation.tables import write_tables


def validate(
    raw: Raw,
    format: FormatSettings,
    validation: ValidationSettings,
    *,
    out: Path,
    context: Context,
    accepted: Path | None = None,
) -> Dataset:
    """Write a table a split, `quarantine.parquet`, `profile.json` and Data Docs (`docs/`).

    `accepted` is the folder with what is remembered of accepted data; it is only read, and may be
    missing. Rows in = kept + quarantined. Raises `DataError` naming expectation, file, row and
    value when an expectation with severity `stop` is not met.
    """
    format = resolve_for(raw, format)
    past = read_accepted(accepted)
    suites = Suites()
    check_columns(suites, raw, format, validation)
    outcome = Outcome(read_rows(raw, format, validation, context.events))
    check_rows(suites, outcome, format, validation)
    similar = check_repeats(suites, outcome, validation)
    splits = check_splits(suites, outcome, similar, past, context.root, validation)
    del similar  # it holds about 1 KB a row
    profile = profile_of(outcome)
    drift = drift_of(past.profile, profile)
    check_totals(suites, outcome, splits, drift, validation)
    if len(outcome.rows) != len(outcome.kept) + len(outcome.quarantined):
        raise AssertionError("a row was lost between the source and the data set")
    need_space(out.parent, 3 * raw.rows.stat().st_size, "the data set")
    with Dataset.write(out) as draft:
        write_tables(draft.folder, outcome, splits)
        write_json(draft.folder / PROFILE, profile)
        draft.facts = gather(outcome, splits, drift, format, validation)
        write_docs(draft.folder / "docs", suites.results, draft.facts)
    for line in summary(draft.facts):
        context.events.note(line)
    return Dataset.open(out)


def check_columns(
    suites: Suites, raw: Raw, format_settings: FormatSettings, settings: ValidationSettings
) -> None:
    """Expect the columns that are needed; without them nothing can be read."""
    columns = raw.facts["columns"]
    wanted = checks.column_checks(format_settings, settings)
    missing_columns(suites.columns(wanted, columns), columns)


def check_rows(
    suites: Suites, outcome: Outcome, format_settings: FormatSettings, settings: ValidationSettings
) -> None:
    """Check each row by itself."""
    wanted = checks.row_checks(format_settings, settings)
    _judge(suites, "rows", wanted, outcome.rows.faults, outcome)


def check_repeats(suites: Suites, outcome: Outcome, settings: ValidationSettings) -> Similar:
    """Check the sound rows against each other; return who can tell how alike they are."""
    rows, among = outcome.rows, outcome.kept
    similar = Similar(rows, among, settings.near_duplicate_threshold)
    faults = repeats.find_repeats(rows, among)
    repeated = [faults["label_conflict"].index, faults["duplicate"].index]
    single = np.setdiff1d(among, np.concatenate(repeated), assume_unique=True)
    faults["near_duplicate"] = repeats.find_near(rows, single, similar.first(single))
    _judge(suites, "repeats", checks.repeat_checks(settings), faults, outcome)
    return similar


def check_splits(
    suites: Suites,
    outcome: Outcome,
    similar: Similar,
    past: Accepted,
    root: Path,
    settings: ValidationSettings,
) -> Any:
    """Deal the rows to the splits, and check what is to be trained on against all else.

    Return the split of every row that is kept after that, as an index in `SPLITS`.
    """
    rows, among = outcome.rows, outcome.kept
    splits = _dealt(rows, among, similar, settings)
    training = among[splits != TEST]
    faults = {
        "leakage": find_leakage(rows, among, splits),
        "near_leakage": find_near_leakage(rows, among, splits, similar),
        "holdout": find_holdout(rows, training, similar, past, settings.duplicate_key),
    }
    if settings.contamination:
        sets = read_sets(root, settings.contamination)
        faults["contamination"] = find_contamination(rows, training, similar, sets, settings)
    _judge(suites, "splits", checks.split_checks(settings), faults, outcome)
    return splits[np.isin(among, outcome.kept, assume_unique=True)]


def check_totals(
    suites: Suites,
    outcome: Outcome,
    splits: Any,
    drift: dict[str, float],
    settings: ValidationSettings,
) -> None:
    """Check the figures of what is left."""
    names, far = label_names(outcome), bounded(drift)
    wanted = checks.total_checks(names, settings) + checks.drift_checks(far, settings)
    figures = _figures(outcome, splits, names) | far
    findings = suites.figures("totals", wanted, figures)
    stop_if_needed(findings, outcome.rows)
    outcome.note_totals(findings)


def _judge(
    suites: Suites,
    name: str,
    wanted: list[checks.Check],
    faults: dict[str, Faults],
    outcome: Outcome,
) -> None:
    """Let Great Expectations judge the kept rows by their faults; stop, or take out what fails."""
    findings = suites.rows(name, wanted, faults, outcome.rows, outcome.kept)
    stop_if_needed(findings, outcome.rows)
    outcome.take_out(findings)


def _dealt(rows: Rows, among: Any, similar: Similar, settings: ValidationSettings) -> Any:
    shares = settings.splits
    return assign(
        rows.numbers("place", among),
        shares,
        labels=rows.numbers("target", among) if shares.stratify else None,
        near=similar.first(among) if shares.group_near_duplicates else None,
    )


def _figures(outcome: Outcome, splits: Any, names: tuple[str, ...]) -> dict[str, float]:
    rows, kept = len(outcome.rows), outcome.kept
    targets = outcome.rows.numbers("target", kept)
    figures: dict[str, float] = {
        checks.KEPT: len(kept),
        checks.QUARANTINED_SHARE: (rows - len(kept)) / max(rows, 1),
    }
    figures |= {checks.rows_in(name): (splits == n).sum() for n, name in enumerate(SPLITS)}
    share = {name: (targets == n).sum() / max(len(kept), 1) for n, name in enumerate(names)}
    return figures | {checks.share_of(name): figure for name, figure in share.items()}
