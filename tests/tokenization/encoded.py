"""One row encoded and shown, as the tests of chat templates look at it."""

from typing import Any

from components.tokenization.columns import flatten, make_ledger
from components.tokenization.encode import encode_rows
from components.tokenization.settings import TokenizationSettings
from components.tokenization.show import marked_ids
from components.tokenization.tokenizer import Tokenizer


def encode(tokenizer: Tokenizer, row: dict[str, Any], **settings: Any) -> tuple[str, Any]:
    """Return the row with its trained parts marked, and its line of the ledger."""
    chosen = TokenizationSettings(**settings)
    lines = encode_rows(tokenizer, {name: [value] for name, value in row.items()}, chosen)
    flat = flatten(lines, chosen)
    ledger = make_ledger(lines, flat, tokenizer.tokens, chosen)
    assert ledger.needed[0] == ledger.length[0]
    return marked_ids(tokenizer, *flat.row(0)), ledger


def trained_parts(marked: str) -> list[str]:
    return [piece.partition("⟧")[0] for piece in marked.split("⟦")[1:]]
