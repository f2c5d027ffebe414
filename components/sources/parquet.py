"""Parquet, read a batch at a time."""

from collections.abc import Iterator
from typing import Any

from components.sources.batches import numbered
from components.sources.columns import need_distinct
from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings

BATCH = 1024
BUFFER = 1 << 20


def read(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield 1-based row number and fields; raise `DataError` naming file and row."""
    del settings  # names of columns stand in the file
    yield from numbered(file, "a Parquet", lambda: _batches(file))


def _batches(file: RowFile) -> Iterator[Any]:
    import pyarrow.parquet as pq

    # Without these two a whole row group is held, and many files are one row group.
    table = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=BUFFER)
    need_distinct(table.schema_arrow.names, file.name, "give each column a name of its own")
    yield from table.iter_batches(batch_size=BATCH)
