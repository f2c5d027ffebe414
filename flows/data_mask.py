"""A tokenised row in colour: what is trained, what is not."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from components.contracts.errors import ArtefactError
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.tokenization.show import Piece, marked, masked_pieces, read_line

TRAINED, PLAIN, SPECIAL = "bold green", "dim", "italic"


@dataclass(frozen=True)
class Mask:
    """Row `row` of a split, counted from 1, piece by piece; `source` is its file and row there."""

    recipe: str
    split: str
    row: int
    source: str | None
    pieces: tuple[Piece, ...]


def read_mask(root: Path, recipe: str, split: str, row: int) -> Mask:
    """Return row `row` (from 1) of a split of the tokens of a recipe.

    Raises `ArtefactError` if the rows have not been tokenised, `DataError` if there is no such row.
    """
    data = root / "data" / recipe
    if not (data / "tokens").is_dir():
        raise ArtefactError(
            f"the rows of recipe '{recipe}' have not been tokenised here",
            fix=f"tuneline run {recipe}",
        )
    tokens, base = Tokens.open(data / "tokens"), BaseModelFolder.open(data / "base")
    pieces = masked_pieces(tokens, base, split, row)
    source = source_of(data / "dataset", split, read_line(tokens.split(split), row)["id"])
    return Mask(recipe, split, row, source, tuple(pieces))


def source_of(dataset: Path, split: str, row_id: str) -> str | None:
    """Return the file and row that a row came from; None if the data set is not here."""
    import pyarrow.parquet as pq

    if not dataset.is_dir():
        return None
    file = Dataset.open(dataset).split(split)
    found = pq.read_table(file, columns=["source", "row"], filters=[("id", "=", row_id)])
    return next((f"{one['source']}:{one['row']}" for one in found.to_pylist()), None)


def show_mask(mask: Mask, console: Console) -> None:
    """Print the row: trained pieces in colour, or between ⟦ and ⟧ where there is none."""
    if console.is_terminal:
        console.print(coloured(mask.pieces), soft_wrap=True)
    else:
        console.print(Text(marked(mask.pieces)), soft_wrap=True)
    console.print(told(mask), style="dim", highlight=False, soft_wrap=True)


def coloured(pieces: tuple[Piece, ...]) -> Text:
    """Return the row with trained pieces in green and special tokens in italics."""
    text = Text()
    for piece in pieces:
        style = TRAINED if piece.trained else PLAIN
        text.append(piece.text, f"{style} {SPECIAL}" if piece.special else style)
    return text


def told(mask: Mask) -> str:
    """Return the row's line of the ledger in words."""
    tokens = sum(len(piece.ids) for piece in mask.pieces)
    trained = sum(len(piece.ids) for piece in mask.pieces if piece.trained)
    answers = max((piece.turn for piece in mask.pieces), default=0)
    source = f" ({mask.source})" if mask.source else ""
    return (
        f"{mask.split} row {mask.row}{source}: {tokens} tokens, {trained} trained, "
        f"{answers} answer{'s' * (answers != 1)}"
    )
