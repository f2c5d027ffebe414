"""What is evaluated."""

from typing import Literal

from pydantic import PositiveInt

from components.contracts.settings import Settings


class EvaluationSettings(Settings):
    """`max_samples` takes the first items of the split only (`null`: all).

    `max_text_samples`: of how many of them the text is read too, for perplexity over text.
    """

    split: Literal["test", "validation"] = "test"
    max_samples: PositiveInt | None = None
    max_text_samples: PositiveInt | None = None
