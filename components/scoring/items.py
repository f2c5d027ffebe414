"""The questions that every model of a run answers: the same ids in the same order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One held-out row as token ids.

    `answer` is the reference answer with its end-of-sequence token last. `choices` are the label
    words without it (empty for free answers) and `target` the index of the right one, or -1; of a
    preference row they are the chosen and the rejected answer, each with its end. A row of plain
    text has no prompt and no answer. `text` is the row's own text, without template, for perplexity
    over text; `text_bytes` its length in UTF-8.
    """

    id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    target: int
    text: tuple[int, ...]
    text_bytes: int


@dataclass(frozen=True)
class Score:
    """What one model makes of one item. Log-likelihoods are in nats.

    `greedy` says that the greedy answer would be exactly the reference answer, EOS included.
    """

    id: str
    choice_logprobs: tuple[float, ...]
    choice: int
    target: int
    right: bool
    greedy: bool
    answer_nll: float
    answer_tokens: int
    text_nll: float
    text_tokens: int
    text_bytes: int
