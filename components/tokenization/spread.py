"""Batches of rows encoded elsewhere: by other processes, on other machines, with the same result.

What one batch gives hangs on nothing but its rows, so batches may be encoded anywhere in any order.
They come back in the order of the file, and everything that remembers (ledger's audit, counts,
quarantine, the table itself) stays with the process that writes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import DataError
from components.tokenization.batches import without_cycles
from components.tokenization.columns import Flat, Ledger, flatten, make_ledger, make_table
from components.tokenization.kinds import READERS, TOKENIZERS, Reader
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Encoded:
    """A batch as lines of `tokens_schema`, with its ledger; `facts` are the reader's."""

    table: "pa.Table"
    ledger: Ledger
    flat: Flat
    facts: dict[str, Any] | None = None


Spread = Callable[
    [Callable[["pa.RecordBatch"], Encoded], Iterable["pa.RecordBatch"]], Iterator[Encoded]
]
"""Calls a function that can be pickled for each batch; yields what it returns in their order."""


def encode_batch(
    reader: Reader,
    tokenizer: Tokenizer,
    settings: TokenizationSettings,
    batch: "pa.RecordBatch",
    *,
    texts: bool,
) -> Encoded:
    """Return the lines and the ledger of a batch of rows."""
    with without_cycles():
        columns = {name: batch[name].to_pylist() for name in batch.schema.names}
        lines = reader.encode(tokenizer, columns, settings, texts=texts)
        flat = flatten(lines, settings)
        ledger = make_ledger(lines, flat, tokenizer.tokens, settings)
        return Encoded(make_table(lines, flat, ledger, batch), ledger, flat)


@dataclass(frozen=True)
class Elsewhere:
    """Encodes a batch in another process, which loads the tokenizer once from the same path."""

    model: Path
    kind: str
    settings: TokenizationSettings
    texts: bool

    def __call__(self, batch: "pa.RecordBatch") -> Encoded:
        tokenizer = _tokenizer(self.model, self.kind)
        reader = READERS[self.kind]()
        made = encode_batch(reader, tokenizer, self.settings, batch, texts=self.texts)
        return Encoded(made.table, made.ledger, made.flat, reader.facts(tokenizer, self.settings))


@lru_cache(maxsize=1)
def _tokenizer(model: Path, kind: str) -> Tokenizer:
    return TOKENIZERS[kind](model)


@dataclass
class Told:
    """The facts of the reader, as batches that were encoded elsewhere told them."""

    facts: dict[str, Any] | None = None

    def pairs(
        self, spread: Spread, encode: Elsewhere, batches: Iterable["pa.RecordBatch"]
    ) -> Iterator[tuple["pa.RecordBatch", Encoded]]:
        """Yield each batch with what was made of it elsewhere.

        Raises `DataError` if one was read otherwise than the first: as with other labels.
        """
        waiting: deque[pa.RecordBatch] = deque()

        def sent() -> Iterator["pa.RecordBatch"]:
            for batch in batches:
                waiting.append(batch)
                yield batch

        for made in spread(encode, sent()):
            batch = waiting.popleft()
            self._agree(batch, made.facts or {})
            yield batch, made

    def _agree(self, batch: "pa.RecordBatch", facts: dict[str, Any]) -> None:
        first = self.facts = facts if self.facts is None else self.facts
        other = [name for name in first if first[name] != facts.get(name)]
        if other:
            place = f"{batch['source'][0]}:{batch['row'][0]}"
            raise DataError(
                f"{other[0]}: the rows from {place} on have {facts.get(other[0])}, but the first "
                f"rows have {first[other[0]]}",
                fix="all rows of a data set must agree in this",
            )
