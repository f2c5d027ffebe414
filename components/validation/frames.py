"""The tables that are put before Great Expectations."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.formats.example import Example
from components.validation import expectations as named
from components.validation.identity import SPLITS, duplicate_key, groups
from components.validation.rows import Row
from components.validation.suite import PLACE

if TYPE_CHECKING:
    import pandas as pd


def column_frame(columns: Sequence[str]) -> "pd.DataFrame":
    """Return an empty frame with the columns of the source."""
    import pandas as pd

    return pd.DataFrame(columns=list(columns))


def row_frame(rows: Sequence[Row]) -> "pd.DataFrame":
    """Return one line a row: its place, the fields the format needs, its text and its faults."""
    names = list(rows[0].after) if rows else []
    table: dict[str, list[Any]] = _places(rows)
    table |= {name: [row.after[name] for row in rows] for name in names}
    table |= {
        named.TEXT: [row.example.text if row.example else None for row in rows],
        named.ANSWER: [row.example.answer if row.example else None for row in rows],
        named.FORMAT_FAULT: [_fault(row, "value", "column") for row in rows],
        named.LABEL_FAULT: [_fault(row, "label") for row in rows],
    }
    return _frame(table)


def repeat_frame(rows: Sequence[Row], examples: Sequence[Example], kind: str) -> "pd.DataFrame":
    """Return one line a row: where its text came first, and the labels if they contradict."""
    seen_before: list[str | None] = [None] * len(rows)
    labels: list[str | None] = [None] * len(rows)
    for group in groups([duplicate_key(example.text, kind) for example in examples]):
        answers = sorted({examples[i].answer for i in group if examples[i].target >= 0})
        if len(answers) > 1:
            for index in group:
                labels[index] = ", ".join(answers)
        else:
            for index in group[1:]:
                seen_before[index] = rows[group[0]].place
    return _frame(
        _places(rows) | {named.SEEN_BEFORE: seen_before, named.OTHER_LABELS: labels},
    )


def total_frame(
    rows: int, examples: Sequence[Example], splits: Sequence[str], labels: Sequence[str]
) -> "pd.DataFrame":
    """Return one line with the figures of the data set; `rows` is how many came in."""
    import pandas as pd

    kept = len(examples)
    by_label = Counter(example.answer for example in examples)
    by_split = Counter(splits)
    figures: dict[str, float] = {
        named.KEPT: kept,
        named.QUARANTINED_SHARE: (rows - kept) / max(rows, 1),
    }
    figures |= {named.rows_in(split): by_split[split] for split in SPLITS}
    figures |= {named.share_of(name): by_label[name] / max(kept, 1) for name in labels}
    return pd.DataFrame([figures])


def _places(rows: Sequence[Row]) -> dict[str, list[Any]]:
    values = ([row.source for row in rows], [row.row for row in rows], list(range(len(rows))))
    return dict(zip(PLACE, values, strict=True))


def _fault(row: Row, *kinds: str) -> str | None:
    return row.fault.problem if row.fault and row.fault.kind in kinds else None


def _frame(table: dict[str, list[Any]]) -> "pd.DataFrame":
    import pandas as pd

    # Columns of mixed values stay as they are; pandas would turn None into NaN and ints to floats.
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()})
