"""All rows of the raw artefact as columns, read by as many processes as it is worth."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.contracts.events import Events, tracked
from components.contracts.kinds import Raw
from components.formats.settings import FormatSettings
from components.validation.faults import Faults
from components.validation.scan import Chunk, Plan, scan
from components.validation.settings import ValidationSettings

STRETCH = 8 << 20
"""Bytes of `rows.jsonl` read at a time. What comes out does not depend on it."""


@dataclass(frozen=True)
class Rows:
    """Every row that came in, in order (`table`, see `rows_schema`), and what is wrong by itself.

    Rows are known by their number here, from 0; `place` says where they stand in the source.
    """

    file: Path
    table: pa.Table
    faults: dict[str, Faults]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def numbers(self, column: str, rows: Any) -> Any:
        """Return a column of numbers or flags for `rows`, as a NumPy array."""
        return self.table[column].take(pa.array(rows)).to_numpy()

    def strings(self, column: str, rows: Any) -> pa.Array:
        """Return a column of text for `rows`, in one piece."""
        taken = self.table[column].take(pa.array(rows))
        return taken.combine_chunks() if taken.num_chunks != 1 else taken.chunk(0)

    def place(self, row: int) -> str:
        """Return `file:number` of a row."""
        return f"{self.table['source'][row].as_py()}:{self.table['row'][row].as_py()}"

    def as_they_came(self, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the fields of `rows`, as they stood in the source."""
        offsets = self.table["offset"]
        with self.file.open("rb") as stream:
            for row in rows:
                stream.seek(offsets[int(row)].as_py())
                yield json.loads(stream.readline())["fields"]


def read_rows(
    raw: Raw, format_settings: FormatSettings, settings: ValidationSettings, events: Events
) -> Rows:
    """Read, clean and look at every row of `raw`."""
    plan = Plan(raw.rows, format_settings, settings)
    stretches = list(stretches_of(raw.rows, STRETCH)) or [(0, 0)]
    chunks = list(tracked(_scanned(plan, stretches), events, "rows", len(stretches)))
    before = list(accumulate((chunk.table.num_rows for chunk in chunks), initial=0))
    names = dict.fromkeys(name for chunk in chunks for name in chunk.faults)
    return Rows(
        file=raw.rows,
        table=pa.concat_tables([chunk.table for chunk in chunks]),
        faults={
            name: Faults.joined(
                [
                    (start, chunk.faults[name])
                    for start, chunk in zip(before, chunks, strict=False)
                    if name in chunk.faults
                ]
            )
            for name in names
        },
    )


def stretches_of(file: Path, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of stretches of whole lines, of about `size` bytes each."""
    start, end = 0, file.stat().st_size
    with file.open("rb") as stream:
        while start < end:
            stream.seek(min(start + size, end) - 1)
            stream.readline()
            stop = stream.tell()
            yield start, stop
            start = stop


def _scanned(plan: Plan, stretches: Sequence[tuple[int, int]]) -> Iterator[Chunk]:
    """Yield the chunks in order; a small file is not worth a second process."""
    starts, stops = zip(*stretches, strict=True)
    workers = min(len(stretches) // 2, _cores())
    if workers < 2:
        yield from map(partial(scan, plan), starts, stops)
        return
    # A process that has used Arrow's threads must not be forked.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(scan, repeat(plan), starts, stops)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
