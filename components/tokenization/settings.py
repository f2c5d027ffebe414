"""The recipe's `tokenization` section: lengths, what is trained, and how text is scored."""

from typing import Literal

from pydantic import Field

from components.contracts.settings import Settings


class TokenizationSettings(Settings):
    """How rows become token ids.

    `truncation` says what happens to a row longer than `max_length`: `error` stops the line,
    `drop` leaves the row out, `truncate_prompt` cuts the front of the prompt (of plain text: the
    end); an answer is never cut. With `assistant_only_loss` only the last answer and its
    end-of-sequence token are trained, else the whole conversation. `prefix_token` is what text
    is scored after: `auto` takes the beginning-of-sequence token if the tokenizer adds one by
    itself, else `<|endoftext|>` if the vocabulary has it, else the end-of-sequence token.
    """

    max_length: int = Field(default=1024, ge=2)
    truncation: Literal["error", "drop", "truncate_prompt"] = "error"
    assistant_only_loss: bool = True
    prefix_token: str = "auto"
