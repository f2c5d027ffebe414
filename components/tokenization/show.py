"""A tokenised row as people read it: which pieces are trained and which are not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.contracts.task_types import task_type_of
from components.tokenization.kinds import TOKENIZERS
from components.tokenization.tokenizer import Tokenizer

MARKS = "⟦", "⟧"
COLUMNS = ["id", "input_ids", "labels", "prompt_tokens", "answer_spans"]


@dataclass(frozen=True)
class Piece:
    """The shortest stretch of tokens that is whole characters: mostly one token.

    `role` is `assistant` inside an answer, `prompt` around answers, `text` in plain text. `turn`
    counts the answers from 1 and is 0 outside of them. `special` marks special tokens.
    """

    text: str
    ids: tuple[int, ...]
    trained: bool
    special: bool
    role: str
    turn: int


def masked_pieces(tokens: Tokens, base: BaseModelFolder, split: str, row: int) -> list[Piece]:
    """Return row `row` of a split, counted from 1 in the order of the split, piece by piece.

    The texts of the pieces make up the text of the row. Raises `DataError` if there is no such
    split or row.
    """
    line = read_line(tokens.split(split), row)
    tokenizer = TOKENIZERS[task_type_of(base)](base.model)
    trained = [label != IGNORED for label in line["labels"]]
    spans = list(zip(line["answer_spans"][::2], line["answer_spans"][1::2], strict=True))
    outside = "prompt" if line["prompt_tokens"] else "text"
    pieces = []
    for begin, end, text in decoded(tokenizer, line["input_ids"]):
        turn = next((n for n, (a, b) in enumerate(spans, start=1) if a <= begin < b), 0)
        ids = tuple(line["input_ids"][begin:end])
        pieces.append(
            Piece(
                text=text,
                ids=ids,
                trained=all(trained[begin:end]),
                special=len(ids) == 1 and ids[0] in tokenizer.special,
                role="assistant" if turn else outside,
                turn=turn,
            )
        )
    return pieces


def read_line(file: Path, row: int) -> dict[str, Any]:
    """Return row `row`, counted from 1, of a table of tokens."""
    import pyarrow.parquet as pq

    if not file.is_file():
        raise DataError(f"{file} does not exist", fix="take the split train, validation or test")
    table = pq.ParquetFile(file)
    if not 1 <= row <= table.metadata.num_rows:
        raise DataError(
            f"there is no row {row} in {file.name}",
            fix=f"rows are counted from 1 to {table.metadata.num_rows}",
        )
    place = row - 1
    for group in range(table.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        if place < size:
            break
        place -= size
    (line,) = table.read_row_group(group, columns=COLUMNS).slice(place, 1).to_pylist()
    return dict(line)


def decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[int, int, str]]:
    """Return (begin, end, text) of the shortest stretches of `ids` that are whole characters.

    A character may be spread over tokens, and a tokenizer may swallow the space before the first
    one; so each stretch is read together with the one before it.
    """
    stretches: list[tuple[int, int, str]] = []
    before = begin = 0
    while begin < len(ids):
        known = tokenizer.decode(ids[before:begin])
        for end in range(begin + 1, len(ids) + 1):
            text = tokenizer.decode(ids[before:end])
            if end == len(ids) or not text.endswith("\ufffd"):
                break
        stretches.append((begin, end, text[len(known) :]))
        before, begin = begin, end
    return stretches


def marked(pieces: Iterable[Piece], marks: tuple[str, str] = MARKS) -> str:
    """Return the row as text with every trained stretch between marks."""
    return with_marks(((piece.text, piece.trained) for piece in pieces), marks)


def marked_ids(tokenizer: Tokenizer, ids: Iterable[Any], trained: Iterable[Any]) -> str:
    """Do as `marked` for token ids [n] and what is trained of them [n]."""
    parts, known, end = [], "", 0
    whole = [int(token) for token in ids]
    for flag, stretch in groupby(map(bool, trained)):
        end += len(list(stretch))
        text = tokenizer.decode(whole[:end])  # from the start: a decoder may drop a first space
        parts.append((text[len(known) :], flag))
        known = text
    return with_marks(parts)


def with_marks(parts: Iterable[tuple[str, bool]], marks: tuple[str, str] = MARKS) -> str:
    """Join texts, putting marks around stretches that are trained."""
    text = ""
    for trained, stretch in groupby(parts, key=lambda part: part[1]):
        part = "".join(piece for piece, _ in stretch)
        text += f"{marks[0]}{part}{marks[1]}" if trained else part
    return text
