"""The tokenize step: token ids, loss mask and supervision ledger."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.artefacts import need_space
from components.contracts.errors import DataError, ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.contracts.tables import tokens_schema
from components.contracts.task_types import task_type_of
from components.tokenization.batches import read_batches
from components.tokenization.encode import Columns
from components.tokenization.kinds import READERS, TOKENIZERS
from components.tokenization.ledger import Audit
from components.tokenization.quarantine import Quarantine, quarantine
from components.tokenization.settings import TokenizationSettings
from components.tokenization.spread import Elsewhere, Encoded, Spread, Told, encode_batch
from components.tokenization.tally import Tally, summary
from components.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "validation", "test")
BYTES_A_BYTE = 16
"""Tokens artefact to dataset artefact, at most: ids and labels of 4 bytes for each byte of text."""


def tokenize(
    base: BaseModelFolder,
    dataset: Dataset,
    settings: TokenizationSettings,
    *,
    out: Path,
    context: Context,
    spread: Spread | None = None,
) -> Tokens:
    """Write a table a split with ids, labels and ledger (`tokens_schema`).

    With `spread` batches of rows are encoded by other processes; the artefact is the same.

    With `truncation: drop` the rows that are too long go to `quarantine.parquet`: rows in are the
    rows of the splits and those.

    Raises `DataError` naming file and row when a row is too long (and `truncation` is `error`), or
    has no trained token, an answer that would be cut, an untrained end of sequence or a doubled
    beginning; `ModelError` when tokenizer or chat template cannot do what is asked.
    """
    kind = task_type_of(base)
    tokenizer, reader = TOKENIZERS[kind](base.model), READERS[kind]()
    check_length(base, settings)
    check_vocabulary(base, len(tokenizer.hf))
    audit, tally, told = Audit(settings, reader.rules), Tally(tokenizer), Told()
    size = sum(dataset.split(split).stat().st_size for split in SPLITS)
    need_space(out.parent, size * BYTES_A_BYTE, "the token ids")
    with Tokens.write(out) as draft:
        with quarantine(draft.folder / "quarantine.parquet", settings) as left_out:
            for split in SPLITS:
                batches, texts = read_batches(dataset.split(split)), split != "train"
                made: Iterable[tuple[pa.RecordBatch, Encoded]]
                if spread is None:
                    encode = partial(encode_batch, reader, tokenizer, settings, texts=texts)
                    made = ((batch, encode(batch)) for batch in batches)
                else:
                    made = told.pairs(spread, Elsewhere(base.model, kind, settings, texts), batches)
                lines = split_lines(made, split, audit, tally, left_out)
                write_table(draft.folder / f"{split}.parquet", lines)
        audit.check()
        check_counts(tally)
        draft.facts = gather(
            told.facts or reader.facts(tokenizer, settings), tokenizer, tally, settings
        )
    for line in summary(draft.facts):
        context.events.note(line)
    return Tokens.open(out)


def split_lines(
    made: "Iterator[tuple[pa.RecordBatch, Encoded]]",
    split: str,
    audit: Audit,
    tally: Tally,
    left_out: Quarantine,
) -> "Iterator[pa.Table]":
    """Yield the lines of one split, a batch at a time, entering each in ledger and tally.

    `made` are batches of rows, each with its lines. Rows that are too long may go to `left_out`.
    """
    import pyarrow as pa

    tally.open(split)
    for batch, one in made:
        columns = {name: batch[name].to_pylist() for name in ("source", "row")}
        place = partial(place_of, columns)
        keep = audit.admit(one.ledger, place)
        tally.add(split, one.ledger, one.flat, keep, place)
        left_out.add(split, batch, one.ledger, keep)
        yield one.table if keep.all() else one.table.filter(pa.array(keep))


def place_of(columns: Columns, row: int) -> str:
    """Return where a row of a batch came from."""
    return f"{columns['source'][row]}:{columns['row'][row]}"


def write_table(file: Path, tables: "Iterator[pa.Table]") -> None:
    """Write batches to one Parquet file, which is there even if there are none."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, tokens_schema()) as writer:
        for table in tables:
            writer.write_table(table)


def check_length(base: BaseModelFolder, settings: TokenizationSettings) -> None:
    """Raise `ModelError` when rows may be longer than the model can read."""
    limit = base.facts.get("max_position_embeddings")
    if limit is not None and settings.max_length > limit:
        raise ModelError(
            f"tokenization.max_length is {settings.max_length}, but the base model reads at most "
            f"{limit} tokens",
            fix=f"set tokenization.max_length to {limit} or less",
        )


def check_vocabulary(base: BaseModelFolder, size: int) -> None:
    """Raise `ModelError` when the tokenizer knows more tokens than the model."""
    known = base.facts.get("vocabulary_size")
    if known is not None and size > known:
        raise ModelError(
            f"the tokenizer has {size} tokens, but the model's embeddings only {known}",
            fix="take the tokenizer that belongs to the model",
        )


def check_counts(tally: Tally) -> None:
    """Raise `DataError` when nothing is left to train on."""
    if tally.splits["train"]["rows"] == 0:
        raise DataError(
            "no row is left to train on",
            fix="raise tokenization.max_length: all rows were longer and dropped",
        )


def gather(
    read: dict[str, Any], tokenizer: Tokenizer, tally: Tally, settings: TokenizationSettings
) -> dict[str, Any]:
    """Return the facts of the tokens artefact."""
    tokens = tokenizer.tokens
    return {
        **tally.facts(),
        "bos_token": tokens.bos,
        "eos_token": tokens.eos,
        "pad_token": tokens.pad,
        "stop_tokens": list(tokens.stop),
        **read,
        "max_length": settings.max_length,
    }
