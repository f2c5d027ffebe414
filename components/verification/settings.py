"""How the exported files are proved."""

from pydantic import Field, PositiveFloat, PositiveInt

from components.contracts.settings import Settings


class VerificationSettings(Settings):
    """Parity of the most precise file with torch, and how speed is measured.

    Parity holds when logits over `parity_prompts` prompts and `parity_new_tokens` generated tokens
    differ by at most `max_logit_difference`, and the greedy tokens of at least
    `min_identical_greedy` (a share) of the prompts are identical. Speeds are medians of
    `speed_repeats` after a warm-up, at batch 1.
    """

    parity_prompts: PositiveInt = 50
    parity_new_tokens: PositiveInt = 16
    max_logit_difference: PositiveFloat = 1e-3
    min_identical_greedy: float = Field(1.0, ge=0, le=1)
    speed_prompt_tokens: PositiveInt = 128
    speed_new_tokens: PositiveInt = 12
    speed_repeats: PositiveInt = 3
