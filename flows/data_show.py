"""What a person sees of a recipe's data: rows, lengths, labels, and what was left out and why."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.contracts.errors import ArtefactError
from components.contracts.kinds import Dataset, Tokens

SPLITS = ("train", "validation", "test")

BAR = 40
"""Characters of the longest bar."""

LETTERS = 100
"""Longer texts are cut."""


def open_dataset(root: Path, recipe: str) -> Dataset:
    """Open a recipe's data set; raise `ArtefactError` with the next command if there is none."""
    folder = root / "data" / recipe / "dataset"
    if not folder.is_dir():
        raise ArtefactError(
            f"there is no data set of recipe '{recipe}' here", fix=f"tuneline run {recipe}"
        )
    return Dataset.open(folder)


def show_dataset(recipe: str, dataset: Dataset, console: Console, *, rows: int = 0) -> None:
    """Print one page on a data set: the first `rows` of each split, the rest from its facts."""
    facts = dataset.facts
    count = facts["rows"]
    console.print(
        f"{recipe}: {count['in']:,} rows in, {count['kept']:,} kept, "
        f"{count['quarantined']:,} quarantined; read as {facts['format']['kind']}",
        highlight=False,
    )
    for part in (
        splits_table(facts["splits"], facts["labels"]),
        tokens_table(dataset),
        rows_table(dataset, rows),
        lengths_table(facts["length_histogram"]),
        found_table("left out", facts["quarantined"], facts["quarantined_rows"]),
        found_table("kept, but look at them", facts["warnings"], facts["warned_rows"]),
        cleaned_table(facts["cleaned"]),
        drift_table(facts["drift"]),
    ):
        if part.row_count:
            console.print(part)
    for line in next_commands(recipe, dataset):
        console.print(line, soft_wrap=True, style="dim", highlight=False)


def splits_table(splits: Mapping[str, int], labels: Mapping[str, Mapping[str, int]]) -> Table:
    """Return rows by split, and the balance of the labels if there are any."""
    names = list(next(iter(labels.values()), {}))
    table = titled("splits")
    for column in ("split", "rows", *names):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split in (name for name in SPLITS if name in splits):
        count = splits[split]
        found = labels.get(split, {})
        cells = [f"{found[name]:,} ({found[name] / max(1, count):.0%})" for name in names]
        table.add_row(split, f"{count:,}", *cells)
    return table


def rows_table(dataset: Dataset, count: int) -> Table:
    """Return the first `count` rows of each split."""
    table = titled(f"the first rows of each split, as they go in ({count} each)")
    for column in ("split", "row", "text", "answer"):
        table.add_column(column, no_wrap=column in ("split", "row"))
    for split in SPLITS:
        name = split
        for one in first_rows(dataset.split(split), count):
            # A row of plain text has no answer, and that of a conversation ends with it.
            text = one["text"].removesuffix(one["answer"])
            table.add_row(name, f"{one['source']}:{one['row']}", cut(text), cut(one["answer"]))
            name = ""
    return table


def tokens_table(dataset: Dataset) -> Table:
    """Return what became of the rows as tokens, if they were tokenised here."""
    table = titled("tokens")
    for column in ("split", "rows", "tokens", "trained", "cut rows", "rows left out"):
        table.add_column(column, justify="left" if column == "split" else "right")
    folder = dataset.path.with_name("tokens")
    splits = Tokens.open(folder).facts["splits"] if folder.is_dir() else {}
    names = ("rows", "tokens", "trained_tokens", "truncated_rows", "dropped_rows")
    for split, counts in splits.items():
        table.add_row(split, *(f"{counts[name]:,}" for name in names))
    return table


def first_rows(file: Path, count: int) -> list[dict[str, Any]]:
    """Return place, text and answer of the first rows of a table."""
    import pyarrow.parquet as pq

    if not count:
        return []
    batches = pq.ParquetFile(file).iter_batches(count, columns=["source", "row", "text", "answer"])
    batch = next(batches, None)
    return [] if batch is None else list(batch.to_pylist())


def lengths_table(bars: Sequence[Mapping[str, int]]) -> Table:
    """Return the histogram of the texts' lengths in characters."""
    table = titled("length of the texts, in characters")
    for column, side in (("from", "right"), ("to", "right"), ("rows", "right"), ("", "left")):
        table.add_column(column, justify="right" if side == "right" else "left")
    most = max((bar["rows"] for bar in bars), default=0)
    for bar in between(bars):
        length = round(BAR * bar["rows"] / most) if most else 0
        mark = "█" * length or ("▏" if bar["rows"] else "")
        table.add_row(str(bar["from"]), str(bar["to"] - 1), f"{bar['rows']:,}", mark)
    return table


def between(bars: Sequence[Mapping[str, int]]) -> Sequence[Mapping[str, int]]:
    """Return `bars` without the empty ones at both ends."""
    full = [at for at, bar in enumerate(bars) if bar["rows"]]
    return bars[full[0] : full[-1] + 1] if full else ()


def found_table(
    title: str, counts: Mapping[str, int], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Table:
    """Return what was found, how often, and the first rows."""
    table = titled(title)
    table.add_column("expectation")
    table.add_column("rows", justify="right")
    table.add_column("for example", no_wrap=True)
    table.add_column("found")
    table.add_column("text")
    for name, count in counts.items():
        cells: tuple[str, str] = (name, f"{count:,}")
        for one in rows.get(name) or [{"row": "", "value": "", "text": ""}]:
            table.add_row(*cells, *(cut(one[key]) for key in ("row", "value", "text")))
            cells = ("", "")
    return table


def cleaned_table(cleaned: Mapping[str, Any]) -> Table:
    """Return examples of what cleaning changed."""
    table = titled(f"cleaned: {cleaned['rows']:,} rows")
    for column in ("for example", "before", "after"):
        table.add_column(column, no_wrap=column == "for example")
    for one in cleaned["examples"]:
        table.add_row(one["row"], *(cut(in_quotes(one[key])) for key in ("before", "after")))
    return table


def drift_table(drift: Mapping[str, float]) -> Table:
    """Return how far the data is from the data that was accepted last."""
    table = titled("drift from the data accepted last")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in drift.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return table


def next_commands(recipe: str, dataset: Dataset) -> Iterator[str]:
    """Yield where to read on."""
    yield f"  every expectation: {from_here(dataset.path / 'docs' / 'index.html')}"
    yield f"  every row left out: {from_here(dataset.quarantine)}"
    yield f"  tuneline data mask {recipe} --row 1   what is trained in a row"


def from_here(file: Path) -> Path:
    """Return a path as one types it in the working directory."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def titled(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD)


def in_quotes(value: Any) -> str:
    """Return a text with its ends and line breaks visible."""
    return json.dumps(value, ensure_ascii=False)


def cut(value: Any) -> Text:
    """Return `value` as one short line; rows may hold anything, so it is never read as markup."""
    text = " ".join(str(value).split())
    return Text(text if len(text) <= LETTERS else text[: LETTERS - 1] + "…")
