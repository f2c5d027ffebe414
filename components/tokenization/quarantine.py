"""The rows that were left out for their length in tokens, each with its place and its length."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.tokenization.columns import Flags, Ledger
from components.tokenization.settings import TokenizationSettings

EXPECTATION = "max_length"


def quarantine_schema() -> pa.Schema:
    """One row: where it came from, its split, what it did not meet, and its own text."""
    text = [(name, pa.string()) for name in ("split", "expectation", "severity", "value", "text")]
    return pa.schema([("source", pa.string()), ("row", pa.int64()), *text])


@dataclass
class Quarantine:
    """Takes in batches; `writer` is None where no row is ever left out."""

    writer: Any | None

    def add(self, split: str, batch: pa.RecordBatch, rows: Ledger, keep: Flags) -> None:
        """Enter the rows of a batch that are not in `keep`."""
        gone = np.flatnonzero(~keep)
        if self.writer is None or not len(gone):
            return
        own = batch.take(pa.array(gone))
        columns = {
            "source": own["source"],
            "row": own["row"],
            "split": [split] * len(gone),
            "expectation": [EXPECTATION] * len(gone),
            "severity": ["quarantine"] * len(gone),
            "value": [f"{tokens} tokens" for tokens in rows.needed[gone].tolist()],
            "text": own["text"],
        }
        self.writer.write_table(pa.table(columns, schema=quarantine_schema()))


@contextmanager
def quarantine(file: Path, settings: TokenizationSettings) -> Iterator[Quarantine]:
    """Give where rows go that are too long: to `file`, if `truncation` is `drop`."""
    import pyarrow.parquet as pq

    if settings.truncation != "drop":
        yield Quarantine(None)
        return
    with pq.ParquetWriter(file, quarantine_schema()) as writer:
        yield Quarantine(writer)
