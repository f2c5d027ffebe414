"""A long text as windows that a model can read: which tokens it sees, and which are scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.contracts.errors import RecipeError

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """`predicted` tokens are scored behind `context` (one token or more)."""

    context: Tokens
    predicted: Tokens

    @property
    def read(self) -> Tokens:
        """The tokens to read; the last `len(predicted)` of their logits score `predicted`."""
        return self.context + self.predicted[:-1]


def windows(
    ids: Sequence[int], *, prefix_token: int, max_length: int, stride: int | None = None
) -> Iterator[Window]:
    """Cut a text into windows of at most `max_length` tokens read; each token is scored once.

    The first window predicts from `prefix_token` on; each further one scores the next `stride`
    tokens (default `max_length`) behind as many as fill it. So without a stride no token is scored
    behind more than its own window, and every window but the last begins with one token of
    context: lm-eval's `loglikelihood_rolling`, whose last window reaches back as well. A shorter
    stride comes nearer to what the model can do, at max_length / stride times the work.

    Raises `RecipeError` unless 1 ≤ stride ≤ max_length.
    """
    step = max_length if stride is None else stride
    if not 1 <= step <= max_length:
        raise RecipeError(
            f"perplexity.stride is {stride}, but the window has {max_length} tokens",
            fix=f"use 1 to {max_length}, or null for the whole window",
        )
    text = (prefix_token, *ids)
    first = min(max_length, len(ids))
    if first:
        yield Window(text[:1], text[1 : first + 1])
    for start in range(first, len(ids), step):
        end = min(start + step, len(ids))
        # text[start] is the token before the first that is scored here.
        yield Window(text[end - max_length : start + 1], text[start + 1 : end + 1])
