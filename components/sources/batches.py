"""Record batches as numbered rows, for files that pyarrow reads."""

from collections.abc import Callable, Iterator
from typing import Any

from components.contracts.errors import DataError
from components.sources.origin import Row, RowFile


def numbered(file: RowFile, kind: str, batches: Callable[[], Iterator[Any]]) -> Iterator[Row]:
    """Yield 1-based row number and fields of the record batches that `batches()` opens and gives.

    Raises `DataError` naming file and row where the file is damaged, or is no file of this `kind`.
    """
    import pyarrow as pa

    number = 0
    try:
        for batch in batches():
            for fields in batch.to_pylist():
                number += 1
                yield number, fields
    except (pa.ArrowException, OSError) as error:
        at = f":{number + 1}: damaged from here on" if number else f": not {kind} file"
        raise DataError(
            f"{file.name}{at} ({error})",
            fix="bring or write the file again",
        ) from error
