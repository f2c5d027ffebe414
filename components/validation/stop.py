"""The error that stops the line: what was expected, how many rows fail, and which."""

from collections.abc import Sequence

from components.contracts.errors import DataError, did_you_mean
from components.validation.rows import Rows
from components.validation.suite import Finding

SHOWN = 5
"""How many failing rows an error names for each expectation."""

FIXES = {
    "columns": "name the right columns in the recipe's format section (groups: "
    "validation.splits.group_by)",
    "label": "mend these labels, add them to format.label.names, or set "
    "validation.severity.label: quarantine",
    "format": "mend these rows, or set validation.severity.format: quarantine",
    "quarantined_share": "look at the rows, then mend them or raise "
    "validation.max_quarantined_share",
    "min_rows": "bring more rows, or lower validation.min_rows",
    "label_share": "bring more rows of this label, or lower validation.min_label_share",
    "split_rows": "bring more rows, or give the split a larger share in validation.splits",
    "drift": "look at what has changed, then accept the data, raise validation.max_psi or max_ks, "
    "or set validation.severity.drift: warn",
}


def stop_if_needed(findings: Sequence[Finding], rows: Rows) -> None:
    """Raise `DataError` if an expectation with severity `stop` is not met."""
    failed = [f for f in findings if not f.success and f.check.severity == "stop"]
    if not failed:
        return
    lines = [f"the data is not fit to train on ({len(rows):,} rows read):"]
    for finding in failed:
        lines += _lines(finding, rows)
    names = dict.fromkeys(finding.check.name for finding in failed)
    fixes = [FIXES.get(n, f"mend these rows, or set validation.severity.{n}") for n in names]
    raise DataError("\n".join(lines), fix="\n  → ".join(fixes))


def missing_columns(findings: Sequence[Finding], columns: Sequence[str]) -> None:
    """Raise `DataError` if a column that the format needs is not in the source."""
    missing = [f.check.column for f in findings if not f.success]
    if missing:
        guesses = [f"'{name}'{did_you_mean(name, columns)}" for name in missing]
        raise DataError(
            f"the rows have no column {' and no column '.join(guesses)} "
            f"(columns: {', '.join(columns)})",
            fix=FIXES["columns"],
        )


def _lines(finding: Finding, rows: Rows) -> list[str]:
    check, faults = finding.check, finding.faults
    if finding.figure is not None:
        return [f"  {check.name}: expected {check.says}, found {finding.figure:.4g}"]
    lines = [f"  {check.name}: expected that {check.says}; {len(faults):,} rows fail"]
    first = zip(faults.index[:SHOWN].tolist(), faults.values[:SHOWN], strict=True)
    lines += [f"    {rows.place(row)}: {value[:160]}" for row, value in first]
    return [*lines, "    …"] if len(faults) > SHOWN else lines
