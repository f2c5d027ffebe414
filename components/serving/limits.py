"""How much one server takes on."""

from pydantic import Field

from components.contracts.settings import Settings


class Limits(Settings):
    """Bounds of a server. What goes beyond is refused at once with the reason.

    `max_concurrency` requests are answered at the same time and `max_queue` more may wait.
    `max_prompt_tokens` null is all that the model's context holds. `max_cached_tokens` bounds rows
    times their longest (prompt and answer), and so the memory of their keys and values.
    """

    max_concurrency: int = Field(default=16, ge=1)
    max_queue: int = Field(default=64, ge=0)
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=1024, ge=1)
    default_new_tokens: int = Field(default=256, ge=1)
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    max_cached_tokens: int = Field(default=32_768, ge=1)
