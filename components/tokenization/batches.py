"""Rows of a Parquet file in batches of bounded size."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8192
BYTES = 4_000_000
"""At most so many rows and, but for a single longer row, so many bytes of text in a batch."""

BUFFER = 1 << 20
"""Bytes of a column read at a time, however large its row group is."""

SIZED = ("text", "messages")


def read_batches(file: Path) -> "Iterator[pa.RecordBatch]":
    """Yield the rows in order; memory does not grow with the file."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
    for batch in table.iter_batches(batch_size=ROWS):
        yield from cut(batch)


def cut(batch: "pa.RecordBatch") -> "Iterator[pa.RecordBatch]":
    """Yield parts of `batch` that hold at most `BYTES` of text, or a single row."""
    import pyarrow.compute as pc

    sizes = sum(
        pc.binary_length(batch[name]).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        for name in SIZED
    )
    ends = np.cumsum(sizes)
    start, done = 0, 0
    while start < batch.num_rows:
        stop = max(start + 1, int(np.searchsorted(ends, done + BYTES, side="right")))
        yield batch.slice(start, stop - start)
        start, done = stop, int(ends[stop - 1])


@contextmanager
def without_cycles() -> "Iterator[None]":
    """Keep the garbage collector from looking for cycles while a batch makes none.

    A batch is hundreds of thousands of small lists: each search would look at all of them and at
    every imported module, a third of the whole time.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
