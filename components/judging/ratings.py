"""What people said, one JSON line at once: never changed, only added to."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from components.contracts.errors import DataError
from components.judging.pairs import Pair

TIE = "tie"
KEYS = ("pair", "item", "rater", "first", "second", "choice")


@dataclass(frozen=True)
class Rating:
    """One choice of one rater. `pair` is the pair's key; `first` and `second` are the models in the
    order they were shown. `choice` is one of these, `TIE`, or `None`: taken back.
    """

    pair: str
    item: str
    rater: str
    first: str
    second: str
    choice: str | None


def rated(pair: Pair, rater: str, order: tuple[str, str], choice: str | None) -> Rating:
    """Return what `rater` said of a pair shown in `order`."""
    return Rating(pair.key, pair.item, rater, *order, choice)


def append(file: Path, ratings: Iterable[Rating]) -> None:
    """Add ratings; they are on the disk when this returns, in one piece each.

    What a crash left of a half-written last line is cut off first.
    """
    lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in ratings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # two raters may work at the same time
        _cut_torn_line(stream.fileno())
        stream.write(lines.encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_ratings(file: Path) -> list[Rating]:
    """Return all lines of the file, in order; without a file there are none.

    A last line without an end was being written when the machine stopped: it does not count.
    Raises `DataError` naming the first line that is no rating.
    """
    if not file.is_file():
        return []
    *lines, _torn = file.read_text(encoding="utf-8").split("\n")
    return [_parse(file, number, line) for number, line in enumerate(lines, start=1)]


def standing(ratings: Iterable[Rating]) -> dict[tuple[str, str], Rating]:
    """Return the last rating of each (pair, rater), without those that were taken back.

    They stand in the order in which they were given.
    """
    found: dict[tuple[str, str], Rating] = {}
    for one in ratings:
        found.pop((one.pair, one.rater), None)
        if one.choice is not None:
            found[one.pair, one.rater] = one
    return found


def _parse(file: Path, number: int, line: str) -> Rating:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _unreadable(file, number, f"not JSON ({error})") from error
    if not isinstance(row, Mapping) or set(row) != set(KEYS):
        raise _unreadable(file, number, f"not a rating with the keys {', '.join(KEYS)}")
    if row["choice"] not in (row["first"], row["second"], TIE, None):
        raise _unreadable(file, number, f"choice is {row['choice']!r}, which was not shown")
    return Rating(**row)


def _unreadable(file: Path, number: int, problem: str) -> DataError:
    return DataError(
        f"{file.name}, line {number}: {problem}",
        fix=f"bring {file} back with git or DVC, or delete the line",
    )


def _cut_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    start = max(0, size - 65536)
    tail = os.pread(descriptor, size - start, start)
    end = start + tail.rfind(b"\n") + 1
    if end < size:
        os.ftruncate(descriptor, end)
