"""Training rows, and the seeded order in which batches of them are seen."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.contracts.tables import IGNORED

Batch = tuple[int, ...]
"""Indices of the rows in one micro-batch."""

SORTED_BATCHES = 20
"""Rows are sorted by length within this many batches: little padding, and still a random order."""

READ_ROWS = 4096
"""Rows decoded at a time while reading."""


@dataclass(frozen=True)
class Row:
    """Token ids [n] and labels [n] of one row, `IGNORED` where nothing is learned."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def trained(self) -> int:
        """Tokens that give a loss: the first token of a row is never predicted."""
        return int((self.labels[1:] != IGNORED).sum())


@dataclass(frozen=True, eq=False)
class Rows(Sequence[Row]):
    """Rows end to end: five bytes a token, so that millions of rows fit.

    `ids` [tokens] int32, `learned` [tokens] says where the label is the token itself, `starts`
    [rows + 1] where each row begins. A `Row` is made when it is asked for.
    """

    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "list[Row]": ...

    def __getitem__(self, index: int | slice) -> "Row | list[Row]":
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        stretch = slice(self.starts[place], self.starts[place + 1])
        ids = self.ids[stretch].astype(np.int64)
        return Row(ids, np.where(self.learned[stretch], ids, IGNORED))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        lengths: list[int] = np.diff(self.starts).tolist()
        return lengths

    @property
    def trained(self) -> NDArray[np.int64]:
        """Tokens of each row that give a loss [rows]: see `Row.trained`."""
        counted = np.concatenate([[0], np.cumsum(self.learned)])
        firsts = np.zeros(len(self), np.int64)
        filled = self.starts[:-1] < self.starts[1:]
        firsts[filled] = self.learned[self.starts[:-1][filled]]
        trained: NDArray[np.int64] = counted[self.starts[1:]] - counted[self.starts[:-1]] - firsts
        return trained


def read_rows(file: Path, limit: int | None = None) -> Rows:
    """Return the rows of a split of the tokens artefact, the first `limit` of them.

    Raises `DataError` if a label is neither ignored nor the token itself.
    """
    table = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    lengths = pq.read_table(file, columns=["length"])["length"].to_numpy()[:limit]
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    rows = Rows(np.empty(starts[-1], np.int32), np.empty(starts[-1], np.bool_), starts)
    done = 0
    for batch in table.iter_batches(batch_size=READ_ROWS, columns=["input_ids", "labels"]):
        if done == len(rows):
            break
        part = batch.slice(0, len(rows) - done)
        stretch = slice(starts[done], starts[done + part.num_rows])
        ids, labels = _values(part["input_ids"]), _values(part["labels"])
        rows.ids[stretch], rows.learned[stretch] = ids, labels != IGNORED
        if not np.array_equal(labels[labels != IGNORED], ids[labels != IGNORED]):
            raise DataError(
                f"a label in {file.name} is neither ignored nor the token at its place",
                fix="run the tokenize stage again",
            )
        done += part.num_rows
    return rows


def _values(lists: pa.ListArray) -> NDArray[np.int32]:
    values: NDArray[np.int32] = lists.flatten().to_numpy()
    return values


def plan_epoch(lengths: list[int], batch_size: int, seed: int, epoch: int) -> list[Batch]:
    """Return the batches of one epoch: length-sorted within random stretches, in random order.

    The same lengths, size, seed and epoch give the same plan on every machine.
    """
    rng = random.Random(f"{seed}/{epoch}")
    plan: list[Batch] = []
    for rows in _sorted_stretches(lengths, batch_size * SORTED_BATCHES, rng):
        part = [tuple(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
        rng.shuffle(part)
        plan += part
    return plan


def plan_token_budget(
    lengths: list[int], max_tokens: int, seed: int, epoch: int, *, batch_size: int | None = None
) -> list[Batch]:
    """Return batches of like length that hold at most `max_tokens` each, padding counted.

    A batch of rows takes rows · longest tokens, so short rows come in large batches and long ones
    in small: the work of a step is even, and the memory bounded. `batch_size` bounds the rows of a
    batch as well. A row longer than `max_tokens` is alone. Seeded as `plan_epoch`.
    """
    rng = random.Random(f"{seed}/{epoch}")
    mean = max(1, sum(lengths) // max(1, len(lengths)))
    stretch = SORTED_BATCHES * max(1, max_tokens // mean)
    plan: list[Batch] = []
    for rows in _sorted_stretches(lengths, stretch, rng):
        part = list(_within_budget(rows, lengths, max_tokens, batch_size or len(rows)))
        rng.shuffle(part)
        plan += part
    return plan


def plan_packed(lengths: list[int], capacity: int, seed: int, epoch: int) -> list[Batch]:
    """Return bins of rows with at most `capacity` tokens each (best-fit decreasing), shuffled.

    Each row, longest first, goes into the fullest bin that still takes it. Bins are kept by the
    room that is left in them, and a bit for each room says whether there are any: finding one
    costs a few operations however many bins there are. A row longer than `capacity` is alone.
    """
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order.sort(key=lambda row: -lengths[row])
    bins: list[list[int]] = []
    by_room: list[list[list[int]]] = [[] for _ in range(capacity + 1)]
    rooms = 0
    for row in order:
        length = lengths[row]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            chosen = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
        else:
            room, chosen = max(capacity, length), []
            bins.append(chosen)
        chosen.append(row)
        left = room - length
        if left:
            by_room[left].append(chosen)
            rooms |= 1 << left
    plan = [tuple(rows) for rows in bins]
    rng.shuffle(plan)
    return plan


def _sorted_stretches(lengths: list[int], stretch: int, rng: random.Random) -> Iterator[list[int]]:
    """Shuffle all rows, then yield them in stretches sorted by length."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    for start in range(0, len(order), stretch):
        yield sorted(order[start : start + stretch], key=lambda row: lengths[row])


def _within_budget(
    rows: Sequence[int], lengths: list[int], max_tokens: int, batch_size: int
) -> Iterator[Batch]:
    """Cut rows sorted by length into batches; the last of a batch is its longest."""
    start = 0
    for end in range(1, len(rows) + 1):
        count = end - start
        full = end == len(rows) or count == batch_size
        if full or (count + 1) * lengths[rows[end]] > max_tokens:
            yield tuple(rows[start:end])
            start = end
