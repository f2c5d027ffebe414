"""The difference of two data sets as people read it."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.data_diff import Change, Changes, DataDiff


def print_diff(found: DataDiff, console: Console) -> None:
    """Print the counts by split, a few rows of each kind, the label shares and the drift."""
    names = f"{found.old} → {found.new or 'the working copy'}"
    if found.same:
        console.print(f"{found.recipe}: {names}: the data is the same to the last byte")
        return
    console.print(f"{found.recipe}: {names}", highlight=False)
    console.print(_counts_table(found))
    for name, mark, style in KINDS:
        for one in getattr(found, name).examples:
            console.print(Text(f"{mark} {_told(one)}", style), soft_wrap=True)
    if found.quarantined_before or found.quarantined_after:
        console.print(_two("quarantined", found.quarantined_before, found.quarantined_after, ","))
    if found.labels_before or found.labels_after:
        console.print(_two("label", found.labels_before, found.labels_after, ".1%"))
    console.print(_drift_table(found.drift))


KINDS = (
    ("added", "+", "green"),
    ("removed", "-", "red"),
    ("changed", "~", "yellow"),
    ("moved", ">", "cyan"),
)


def _counts_table(found: DataDiff) -> Table:
    table = Table("", "rows", "by split", box=SIMPLE_HEAD)
    rows = [("before", found.rows_before), ("after", found.rows_after)]
    for name, counts in rows:
        table.add_row(name, f"{sum(counts.values()):,}", _listed(counts))
    for name, _, style in KINDS:
        kind: Changes = getattr(found, name)
        table.add_row(Text(name, style), f"{kind.count:,}", _listed(kind.by_split))
    table.add_row("reworded", f"{found.reworded:,}", "the prompt alone is another")
    return table


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _told(one: Change) -> str:
    text = " ".join(one.text.split())
    splits = [split for split in (one.split_before, one.split_after) if split]
    split = " → ".join(dict.fromkeys(splits))
    answers = [answer for answer in (one.answer_before, one.answer_after) if answer]
    answer = " → ".join(dict.fromkeys(answers))
    return f"{one.place} [{split}] {text}" + (f" = {answer}" if answer else "")


def _two(title: str, before: Mapping[str, float], after: Mapping[str, float], form: str) -> Table:
    """Return what each name had before and has after, written in `form`."""
    table = Table(title, "before", "after", box=SIMPLE_HEAD)
    for name in dict.fromkeys([*before, *after]):
        cells = [format(side[name], form) if name in side else "–" for side in (before, after)]
        table.add_row(Text(name), *cells)
    return table


def _drift_table(drift: dict[str, float]) -> Table:
    table = Table("drift", "", box=SIMPLE_HEAD)
    for name, figure in drift.items():
        table.add_row(name.replace("_", " "), f"{figure:.3g}")
    return table
