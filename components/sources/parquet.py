"""Parquet, read a batch at a time."""

from collections.abc import Iterator
from pathlib import Path

from components.contracts.errors import DataError
from components.sources.origin import Row
from components.sources.settings import ReadSettings


def read(file: Path, settings: ReadSettings) -> Iterator[Row]:
    """Yield 1-based row number and fields."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    del settings  # names of columns stand in the file
    try:
        table = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{file.name}: not a Parquet file ({error})", fix="write the file again, or correct it"
        ) from error
    number = 0
    for batch in table.iter_batches(batch_size=1024):
        for fields in batch.to_pylist():
            number += 1
            yield number, fields
