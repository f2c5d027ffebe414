"""The recipe's `tokenization` section: lengths, what is trained, and how text is scored."""

from typing import Literal

from pydantic import Field

from components.contracts.settings import Settings


class TokenizationSettings(Settings):
    """How rows become token ids.

    `truncation` says what happens to a row longer than `max_length`: `error` stops the line,
    `drop` leaves the row out, `truncate_prompt` cuts the front of the prompt (of plain text: the
    end); an answer is never cut.

    With `assistant_only_loss` every answer of a conversation is trained, each with its
    end-of-sequence token, and nothing else; with `completion_only_loss` only the last one (both
    are the same for a prompt and its completion); with neither, the whole conversation.
    `rewritten_turns` is for templates that write an earlier answer otherwise once the conversation
    goes on, such as one that drops its thoughts: `skip` leaves it untrained, since inference would
    never ask for it like that, and counts it; `error` stops the line.

    `prefix_token` is what text is scored after: `auto` takes the beginning-of-sequence token if
    the tokenizer adds one by itself, else `<|endoftext|>` if the vocabulary has it, else the
    end-of-sequence token.
    """

    max_length: int = Field(default=1024, ge=2)
    truncation: Literal["error", "drop", "truncate_prompt"] = "error"
    assistant_only_loss: bool = True
    completion_only_loss: bool = False
    rewritten_turns: Literal["skip", "error"] = "skip"
    prefix_token: str = "auto"

    @property
    def trains_earlier_answers(self) -> bool:
        """Whether answers before the last one are to be found and trained."""
        return self.assistant_only_loss and not self.completion_only_loss

    @property
    def trains_answers_only(self) -> bool:
        """Whether nothing but answers is trained."""
        return self.assistant_only_loss or self.completion_only_loss
