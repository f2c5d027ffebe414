"""Training rows, and the seeded order in which batches of them are seen."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts.tables import IGNORED

Batch = tuple[int, ...]
"""Indices of the rows in one micro-batch."""

SORTED_BATCHES = 20
"""Rows are sorted by length within this many batches: little padding, and still a random order."""


@dataclass(frozen=True)
class Row:
    """Token ids [n] and labels [n] of one row, `IGNORED` where nothing is learned."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def trained(self) -> int:
        """Tokens that give a loss: the first token of a row is never predicted."""
        return int((self.labels[1:] != IGNORED).sum())


def read_rows(file: Path, limit: int | None = None) -> list[Row]:
    """Return the rows of a split of the tokens artefact, the first `limit` of them."""
    table = pq.read_table(file, columns=["input_ids", "labels"])
    if limit is not None:
        table = table.slice(0, limit)
    return [
        Row(np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64))
        for ids, labels in zip(
            table["input_ids"].to_pylist(), table["labels"].to_pylist(), strict=True
        )
    ]


def plan_epoch(lengths: list[int], batch_size: int, seed: int, epoch: int) -> list[Batch]:
    """Return the batches of one epoch: length-sorted within random stretches, in random order.

    The same lengths, size, seed and epoch give the same plan on every machine.
    """
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    stretch = batch_size * SORTED_BATCHES
    plan: list[Batch] = []
    for start in range(0, len(order), stretch):
        rows = sorted(order[start : start + stretch], key=lambda row: lengths[row])
        part = [tuple(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
        rng.shuffle(part)
        plan += part
    return plan


def plan_packed(lengths: list[int], capacity: int, seed: int, epoch: int) -> list[Batch]:
    """Return bins of rows with at most `capacity` tokens each (first-fit decreasing), shuffled.

    A row longer than `capacity` gets a bin of its own.
    """
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order.sort(key=lambda row: -lengths[row])
    bins: list[list[int]] = []
    room: list[int] = []
    for row in order:
        place = next((i for i, free in enumerate(room) if free >= lengths[row]), None)
        if place is None:
            bins.append([])
            room.append(capacity)
            place = len(bins) - 1
        bins[place].append(row)
        room[place] -= lengths[row]
    plan = [tuple(rows) for rows in bins]
    rng.shuffle(plan)
    return plan
