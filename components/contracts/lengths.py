"""How long a text a model can read, from its configuration."""

from collections.abc import Mapping
from typing import Any

OFFSET = ("camembert", "roberta", "xlm-roberta")
"""Families that count places from one behind the padding token's id: so many less can be read."""

RELATIVE = ("mt5", "t5", "umt5")
"""Families that know how far apart two tokens are, not where they stand: any length can be read."""


def context_length(config: Mapping[str, Any]) -> int | None:
    """Return the most tokens a model reads, or None where its config.json does not say."""
    if config.get("model_type") in RELATIVE:
        return None  # T5's `n_positions` is the length it was pretrained with
    found = config.get("max_position_embeddings", config.get("n_positions"))
    if found is None:
        return None
    offset = config.get("model_type") in OFFSET
    return int(found) - (int(config.get("pad_token_id", 1)) + 1 if offset else 0)
