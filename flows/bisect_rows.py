"""Two versions of raw rows: which files differ, in which rows, and a mix of both."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.kinds import Raw

Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class FileChange:
    """How one file of rows changed. `added` are ranges of row numbers there now, both ends
    included; a changed row is one that was removed and one that was added.
    """

    file: str
    added: Ranges
    added_rows: int
    removed_rows: int

    def told(self) -> str:
        """Say it in words: `extra.jsonl: rows 1–60 added, 3 removed`."""
        where = ", ".join(f"{a}–{b}" if a != b else f"{a}" for a, b in self.added[:6])
        more = " …" if len(self.added) > 6 else ""
        said = [f"rows {where}{more} added ({self.added_rows:,})"] if self.added else []
        said += [f"{self.removed_rows:,} removed"] if self.removed_rows else []
        return f"{self.file}: {', '.join(said)}"


def changes(before: Raw, after: Raw) -> list[FileChange]:
    """Return the files whose rows differ, by name; rows are told apart by their content."""
    old: dict[str, Counter[str]] = {}
    for source, _, fields in _rows(before):
        old.setdefault(source, Counter())[fields] += 1
    added: dict[str, list[int]] = {}
    for source, number, fields in _rows(after):
        left = old.get(source, Counter())
        if left[fields] > 0:
            left[fields] -= 1
        else:
            added.setdefault(source, []).append(number)
    gone = {source: left.total() for source, left in old.items()}
    return [
        FileChange(name, ranges(numbers), len(numbers), gone.get(name, 0))
        for name in sorted({*added, *gone})
        if (numbers := added.get(name, [])) or gone.get(name, 0)
    ]


def ranges(numbers: Iterable[int]) -> Ranges:
    """Return ascending numbers as ranges: 1, 2, 3, 7 → (1, 3), (7, 7)."""
    found: Ranges = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def mixed(before: Raw, after: Raw, taken: Sequence[str], out: Path) -> Raw:
    """Write the rows of `before`, but of the files in `taken` those of `after`, in order of names.

    Holds the lines of one version in memory.
    """
    lines: dict[str, list[str]] = {}
    for raw, wanted in ((before, False), (after, True)):
        for line in _lines(raw):
            source = json.loads(line)["source"]
            if (source in taken) == wanted:
                lines.setdefault(source, []).append(line)
    kept = [line for source in sorted(lines) for line in lines[source]]
    columns = dict.fromkeys(name for line in kept for name in json.loads(line)["fields"])
    with Raw.write(out) as draft:
        (draft.folder / "rows.jsonl").write_text("".join(kept), encoding="utf-8")
        draft.facts = {**after.facts, "rows": len(kept), "columns": list(columns)}
    return Raw.open(out)


def _rows(raw: Raw) -> Iterator[tuple[str, int, str]]:
    """Yield file, row number and fields (as text) of every row."""
    for line in _lines(raw):
        row: dict[str, Any] = json.loads(line)
        yield row["source"], row["row"], json.dumps(row["fields"], sort_keys=True)


def _lines(raw: Raw) -> Iterator[str]:
    with raw.rows.open(encoding="utf-8", newline="\n") as stream:
        yield from stream
