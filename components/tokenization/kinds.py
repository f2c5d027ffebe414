"""How rows become ids for each kind of model: one entry a kind (`model.task_type`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from components.contracts.task_types import CAUSAL_LM, MASKED_LM, SEQ_2_SEQ_LM, SEQ_CLS
from components.tokenization.encode import Columns, encode_rows
from components.tokenization.labelled import Labelled, load_encoder_tokenizer
from components.tokenization.ledger import RULES, Rule
from components.tokenization.lines import Line
from components.tokenization.pairs import encode_pairs, facts_of_pairs, load_pair_tokenizer
from components.tokenization.settings import TokenizationSettings
from components.tokenization.texts import encode_texts, facts_of_masks, load_masked_tokenizer
from components.tokenization.tokenizer import Tokenizer, load_tokenizer


class Encode(Protocol):
    """Makes a line of each row, in order; with `texts`, each with its own text's ids."""

    def __call__(
        self,
        tokenizer: Tokenizer,
        columns: Columns,
        settings: TokenizationSettings,
        *,
        texts: bool = True,
    ) -> list[Line]: ...


Facts = Callable[[Tokenizer, TokenizationSettings], dict[str, Any]]


@dataclass(frozen=True)
class Reader:
    """`rules` are what must hold of every line; `facts` is called once all have been read."""

    encode: Encode
    facts: Facts
    rules: tuple[Rule, ...] = field(default=())


def scored_text(tokenizer: Tokenizer, settings: TokenizationSettings) -> dict[str, Any]:
    """Return after which token a decoder's text is scored, and what of a row it learns."""
    prefix = tokenizer.prefix(settings.prefix_token)
    return {
        "prefix_token": prefix,
        "prefix_token_text": tokenizer.token(prefix),
        "assistant_only_loss": settings.assistant_only_loss,
    }


def decoder() -> Reader:
    """Return how rows are read for a decoder: prompt and answer, or plain text."""
    return Reader(encode_rows, scored_text, RULES)


def classifier() -> Reader:
    """Return how rows are read for an encoder with a head: a text and the index of its label."""
    labelled = Labelled()
    return Reader(labelled.encode, labelled.facts)


def encoder_decoder() -> Reader:
    """Return how rows are read for an encoder-decoder: a source and the target written to it."""
    return Reader(encode_pairs, facts_of_pairs, RULES)


def masked() -> Reader:
    """Return how rows are read for a masked-language model: plain text whose tokens are told."""
    return Reader(encode_texts, facts_of_masks, RULES[:1])


READERS: dict[str, Callable[[], Reader]] = {
    CAUSAL_LM: decoder,
    MASKED_LM: masked,
    SEQ_2_SEQ_LM: encoder_decoder,
    SEQ_CLS: classifier,
}
TOKENIZERS: dict[str, Callable[[Path], Tokenizer]] = {
    CAUSAL_LM: load_tokenizer,
    MASKED_LM: load_masked_tokenizer,
    SEQ_2_SEQ_LM: load_pair_tokenizer,
    SEQ_CLS: load_encoder_tokenizer,
}
