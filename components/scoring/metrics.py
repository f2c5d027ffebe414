"""Numbers over scores: never a mean of per-row perplexities."""

import math
from collections.abc import Sequence
from typing import Any

from components.scoring.items import Score

ANSWER_METRICS = (
    "accuracy",
    "accuracy_interval",
    "exact_match",
    "exact_match_interval",
    "answer_loss",
    "answer_perplexity",
)


def summarise(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the metrics of one model over its items.

    `accuracy`: share of items whose right label is the likeliest (for free answers: exact greedy
    answers), with its 95 % Wilson interval. `exact_match`: share whose greedy answer, EOS included,
    is the reference. `answer_perplexity`: exp(ΣNLL/Σtokens) over the answers. `perplexity` and
    `bits_per_byte`: over the rows' own text. A metric that the rows do not allow (no answers, no
    text) is `None`.
    """
    return {"items": len(scores), **answer_metrics(scores), **text_metrics(scores)}


def answer_metrics(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the metrics of the answers; loss in nats, weighted by tokens."""
    answered = [score for score in scores if score.answer_tokens]
    if not answered:
        return dict.fromkeys(ANSWER_METRICS)
    nll = sum(score.answer_nll for score in answered)
    tokens = sum(score.answer_tokens for score in answered)
    right = sum(score.right for score in answered)
    greedy = sum(score.greedy for score in answered)
    return {
        "accuracy": right / len(answered),
        "accuracy_interval": list(wilson(right, len(answered))),
        "exact_match": greedy / len(answered),
        "exact_match_interval": list(wilson(greedy, len(answered))),
        "answer_loss": nll / tokens,
        "answer_perplexity": math.exp(nll / tokens),
    }


def text_metrics(scores: Sequence[Score]) -> dict[str, float | None]:
    """Return token-weighted perplexity and bits per byte of the rows' own text."""
    nll = sum(score.text_nll for score in scores)
    tokens = sum(score.text_tokens for score in scores)
    size = sum(score.text_bytes for score in scores)
    if not tokens or not size:
        return {"perplexity": None, "bits_per_byte": None}
    return {"perplexity": math.exp(nll / tokens), "bits_per_byte": nll / (math.log(2) * size)}


def wilson(successes: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927), 95 % by default."""
    if total == 0:
        return (0.0, 1.0)
    p = successes / total
    centre = p + z * z / (2 * total)
    spread = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # Rounding may leave a bound on the wrong side of a share of 0 or 1.
    low, high = min(p, (centre - spread) / scale), max(p, (centre + spread) / scale)
    return (max(0.0, low), min(1.0, high))
