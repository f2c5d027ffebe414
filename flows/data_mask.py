"""A tokenised row in colour: what is trained, what is not."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from components.contracts.errors import ArtefactError
from components.contracts.kinds import BaseModelFolder, Tokens
from components.tokenization.show import Piece, marked, masked_pieces

TRAINED, PLAIN, SPECIAL = "bold green", "dim", "italic"


def show_mask(root: Path, recipe: str, split: str, row: int, console: Console) -> None:
    """Print row `row` (from 1) of a split: trained pieces in colour, or between ⟦ and ⟧.

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
    if console.is_terminal:
        console.print(coloured(pieces), soft_wrap=True)
    else:
        console.print(Text(marked(pieces)), soft_wrap=True)
    console.print(told(pieces), style="dim", highlight=False)


def coloured(pieces: list[Piece]) -> Text:
    """Return the row with trained pieces in green and special tokens in italics."""
    text = Text()
    for piece in pieces:
        style = TRAINED if piece.trained else PLAIN
        text.append(piece.text, f"{style} {SPECIAL}" if piece.special else style)
    return text


def told(pieces: list[Piece]) -> str:
    """Return the row's line of the ledger in words."""
    tokens = sum(len(piece.ids) for piece in pieces)
    trained = sum(len(piece.ids) for piece in pieces if piece.trained)
    answers = max((piece.turn for piece in pieces), default=0)
    return f"{tokens} tokens, {trained} trained, {answers} answer{'s' * (answers != 1)}"
