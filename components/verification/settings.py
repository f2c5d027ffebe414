"""How the exported files are proved."""

from pydantic import Field, PositiveFloat, PositiveInt

from components.contracts.settings import Settings


class VerificationSettings(Settings):
    """Parity of the most precise file with torch, and how speed is measured.

    Parity holds when logits over `parity_prompts` prompts and `parity_new_tokens` generated tokens
    differ by at most `max_logit_difference`, and the greedy tokens of at least
    `min_identical_greedy` (a share) of the prompts are identical. Speed is measured on
    requests of `speed_prompt_tokens` and `speed_new_tokens`, in batches of `speed_batch_sizes`:
    `speed_repeats` and more while `speed_seconds` last, for each model and batch size, after the
    beginning of one to warm up; where they take twice as long, fewer.
    """

    parity_prompts: PositiveInt = 50
    parity_new_tokens: PositiveInt = 16
    max_logit_difference: PositiveFloat = 1e-3
    min_identical_greedy: float = Field(1.0, ge=0, le=1)
    speed_prompt_tokens: PositiveInt = 128
    speed_new_tokens: PositiveInt = 12
    speed_repeats: PositiveInt = 3
    speed_batch_sizes: tuple[PositiveInt, ...] = Field((1, 8), min_length=1)
    speed_seconds: PositiveFloat = 1.0
