"""The recipe's `retrain` section: when a scheduled tick trains, and what that may cost."""

import re
from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from components.contracts.settings import Settings

SECRET = re.compile(r"://[^/]*@|[?&][^=]*(?:key|secret|token|signature)[^=]*=", re.IGNORECASE)


class RetrainSettings(Settings):
    """When `tuneline retrain` skips, looks at the champion again, or trains.

    It trains where at least `min_new_rows` rows, and that share of all rows, are not what the
    champion saw (after deduplication; rows that were taken away count alike), and for a champion
    older than `max_age_days` at the first such row. Fewer rows of another kind, `max_drift` (the
    largest PSI of lengths, labels or vocabulary) or `max_label_shift` (the largest change of a
    label's share), have the champion scored again on the fresh held-out rows. It trains then if the
    champion is worse on them than on those it knows by more than `max_accuracy_loss`, the upper end
    of the 95 % interval, or by more than `max_bits_per_byte_rise` where rows have no answers.

    `max_hours_per_month` bounds the hours on the accelerator in a calendar month (UTC), or of
    training where there is none; null: no bound. After `max_attempts` failures on the same rows it
    waits for other rows. `start: champion` goes on from the champion's adapter where the rows have
    not drifted; `fresh` begins a new one.

    `watch` is a bucket or folder behind a URL of any file system of fsspec whose new files are
    fetched to data/incoming/RECIPE/. A file there is taken when it has not changed for `settle_s`
    seconds.
    """

    min_new_rows: PositiveInt = 100
    min_new_share: float = Field(default=0.05, ge=0, le=1)
    max_drift: NonNegativeFloat = 0.2
    max_label_shift: float = Field(default=0.1, ge=0, le=1)
    max_age_days: PositiveFloat = 90.0
    max_accuracy_loss: float = Field(default=0.02, ge=0, lt=1)
    max_bits_per_byte_rise: NonNegativeFloat = 0.05
    max_hours_per_month: NonNegativeFloat | None = None
    max_attempts: PositiveInt = 3
    start: Literal["fresh", "champion"] = "fresh"
    watch: str | None = None
    settle_s: NonNegativeInt = 10

    @model_validator(mode="after")
    def _a_place_without_secrets(self) -> Self:
        if self.watch is None:
            return self
        if "://" not in self.watch:
            raise ValueError(
                "watch must be a URL such as s3://bucket/folder/; files that are put into "
                "data/incoming/RECIPE/ are taken without it"
            )
        if SECRET.search(self.watch):
            raise ValueError("watch names a user or a credential: give those by the environment")
        return self
