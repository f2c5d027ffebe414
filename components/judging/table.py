"""The blind sheet as CSV, for people without the page: out, and back in with every row checked."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import DataError, did_you_mean
from components.judging.pairs import Pair
from components.judging.ratings import TIE, Rating, rated, standing
from components.judging.sheet import Sheet

COLUMNS = ("pair", "prompt", "answer_1", "answer_2", "choice")
CHOICES = ("1", "2", "0")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet would run, or drop: an apostrophe before it makes it text."""

TOLD = 20
"""Faults that are told one by one."""


@dataclass(frozen=True)
class Imported:
    """What an import brought: ratings that are new or changed; rows without a choice."""

    ratings: list[Rating]
    changed: int
    unchanged: int
    empty: int

    def words(self) -> str:
        new = len(self.ratings) - self.changed
        return (
            f"{new} new, {self.changed} changed, {self.unchanged} unchanged, "
            f"{self.empty} without a choice"
        )


def write_table(sheet: Sheet, rater: str, file: Path) -> int:
    """Write the sheet as `rater` sees it, with the choices made so far; return the rows.

    UTF-8 with a byte order mark, by which spreadsheets know it.
    """
    stand = standing(sheet.ratings())
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for pair in sheet.pairs:
            order = pair.order(sheet.seed, rater)
            said = stand.get((pair.key, rater))
            choice = str(number_of(order, said.choice)) if said and said.choice else ""
            answers = [pair.answers[model] for model in order]
            cells = [_cell(text) for text in (told(pair), *answers)]
            table.writerow([pair.key, *cells, choice])
    return len(sheet.pairs)


def read_table(sheet: Sheet, rater: str, file: Path) -> Imported:
    """Check every row of a filled-in sheet; return what is to be added to the ratings.

    Rows may be in any order, and the delimiter a comma, a semicolon or a tab. Raises `DataError`
    with all faults of the file at once: then nothing is taken.
    """
    stand = standing(sheet.ratings())
    found: dict[str, Rating] = {}
    faults: list[str] = []
    empty = 0
    for number, row in enumerate(_rows(file), start=2):
        problem = _fault(sheet, row, set(found))
        if problem:
            faults.append(f"row {number}: {problem}")
        elif not row["choice"].strip():
            empty += 1
        else:
            found[row["pair"].strip()] = _rating(sheet.by_key[row["pair"].strip()], rater, row)
    if faults:
        raise DataError(_told(file, faults), fix="mend the rows and import again: none was taken")
    before = {key: stand.get((key, rater)) for key in found}
    changed = [k for k, r in found.items() if (b := before[k]) and b.choice != r.choice]
    same = {k for k, r in found.items() if (b := before[k]) and b.choice == r.choice}
    ratings = [one for key, one in found.items() if key not in same]
    return Imported(ratings, len(changed), len(same), empty)


def told(pair: Pair) -> str:
    """Return the prompt as one text."""
    return "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in pair.prompt)


def number_of(order: tuple[str, str], choice: str) -> int:
    """Return the key that stands for a choice: 1, 2, or 0 for a tie."""
    return 0 if choice == TIE else order.index(choice) + 1


def choice_of(order: tuple[str, str], number: int) -> str:
    """Return the choice that a key stands for."""
    return TIE if number == 0 else order[number - 1]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    """Yield the rows; raise `DataError` for a file that is not the sheet."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 (byte {error.start})", fix="save it as CSV UTF-8"
        ) from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
    header = [name.strip() for name in table.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        hint = did_you_mean(missing[0], header)
        raise DataError(
            f"{file}: no column {', '.join(missing)} (found: {', '.join(header) or 'none'}){hint}",
            fix="export the sheet again: tuneline judge RECIPE --export FILE.csv",
        )
    table.fieldnames = header
    yield from ({name: row[name] or "" for name in COLUMNS} for row in table)


def _fault(sheet: Sheet, row: dict[str, str], seen: set[str]) -> str | None:
    """Return what is wrong with a row, or `None`."""
    key, choice = row["pair"].strip(), row["choice"].strip()
    pair = sheet.by_key.get(key)
    if pair is None:
        return f"pair {key!r} is not on this sheet{did_you_mean(key, sheet.by_key)}"
    if key in seen:
        return f"pair {key} comes twice"
    if choice and choice not in CHOICES:
        return f"choice is {choice!r}, but it should be 1, 2, 0 for a tie, or empty"
    if _order(pair, row) is None:
        return "the answers are not those of this pair: they were changed, or moved to another row"
    return None


def _rating(pair: Pair, rater: str, row: dict[str, str]) -> Rating:
    order = _order(pair, row)
    assert order is not None  # `_fault` has looked
    return rated(pair, rater, order, choice_of(order, int(row["choice"])))


def _order(pair: Pair, row: dict[str, str]) -> tuple[str, str] | None:
    """Return the models in the order of the row's answers: by these, so columns may be moved."""
    shown = [_plain(row[name]) for name in ("answer_1", "answer_2")]
    one, other = sorted(pair.answers)
    for order in ((one, other), (other, one)):
        if [_plain(_cell(pair.answers[model])) for model in order] == shown:
            return order
    return None


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _plain(text: str) -> str:
    """Return a cell as spreadsheets leave it: they may drop the apostrophe and change line ends."""
    return " ".join(text.lstrip("'").split())


def _told(file: Path, faults: Sequence[str]) -> str:
    lines = [f"{file.name}: {len(faults)} rows are wrong", *faults[:TOLD]]
    return "\n  ".join([*lines, *(["…"] if len(faults) > TOLD else [])])
