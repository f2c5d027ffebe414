"""Parquet, read a batch at a time."""

from collections.abc import Iterator

from components.contracts.errors import DataError
from components.sources.columns import need_distinct
from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings

BATCH = 1024
BUFFER = 1 << 20


def read(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield 1-based row number and fields; raise `DataError` naming file and row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    del settings  # names of columns stand in the file
    number = 0
    try:
        # Without these two a whole row group is held, and many files are one row group.
        table = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=BUFFER)
        need_distinct(table.schema_arrow.names, file.name, "give each column a name of its own")
        for batch in table.iter_batches(batch_size=BATCH):
            for fields in batch.to_pylist():
                number += 1
                yield number, fields
    except (pa.ArrowException, OSError) as error:
        at = f":{number + 1}: damaged from here on" if number else ": not a Parquet file"
        raise DataError(
            f"{file.name}{at} ({error})",
            fix="bring or write the file again",
        ) from error
