"""Arrow IPC files and streams (what `datasets` saves and Feather 2 is), read a batch at a time."""

from collections.abc import Iterator
from typing import Any

from components.sources.batches import numbered
from components.sources.columns import need_distinct
from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings

BATCH = 1024
FILE_MAGIC = b"ARROW1"


def read(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield 1-based row number and fields; raise `DataError` naming file and row."""
    del settings  # names of columns stand in the file
    yield from numbered(file, "an Arrow", lambda: _slices(file))


def _slices(file: RowFile) -> Iterator[Any]:
    import pyarrow as pa

    with pa.memory_map(str(file.path)) as source:
        for batch in _batches(source, file.name):
            for start in range(0, len(batch), BATCH):
                yield batch.slice(start, BATCH)


def _batches(source: Any, name: str) -> Iterator[Any]:
    import pyarrow as pa

    is_file = source.read(len(FILE_MAGIC)) == FILE_MAGIC
    source.seek(0)
    reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
    need_distinct(reader.schema.names, name, "give each column a name of its own")
    if is_file:
        yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        yield from reader
