"""The recipe's `validation` section: cleaning, thresholds, severities and splits."""

from typing import Literal, Self

from pydantic import Field, model_validator

from components.contracts.settings import Settings

RowSeverity = Literal["stop", "quarantine", "warn"]
"""What a failing row does: stop the line, leave the data set, or only be named."""

BrokenSeverity = Literal["stop", "quarantine"]
"""For rows of which no example can be made: they cannot stay."""

TotalSeverity = Literal["stop", "warn"]
"""For figures of the whole data set: there is no row to take out."""


class Severities(Settings):
    """What happens when an expectation is not met."""

    not_null: BrokenSeverity = "quarantine"
    format: BrokenSeverity = "stop"
    label: BrokenSeverity = "stop"
    not_empty: RowSeverity = "quarantine"
    encoding: RowSeverity = "quarantine"
    html: RowSeverity = "warn"
    duplicate: RowSeverity = "quarantine"
    label_conflict: RowSeverity = "quarantine"
    min_rows: TotalSeverity = "stop"
    label_share: TotalSeverity = "stop"
    quarantined_share: TotalSeverity = "stop"
    split_rows: TotalSeverity = "stop"


class SplitSettings(Settings):
    """Shares of the splits. A row's split depends on its text and `seed` only."""

    train: float = Field(default=0.8, gt=0, le=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test must add up to 1, not {total:g}")
        return self


class ValidationSettings(Settings):
    """How rows are cleaned and what is expected of them.

    `whitespace`: `strip` takes it from the ends, `collapse` also makes every run of it one space.
    `duplicate_key` is what makes two texts the same: `text` ignores case and spacing; `words` also
    ignores everything but letters and digits, for short messages that come in many spellings.
    """

    unescape_html: bool = False
    whitespace: Literal["keep", "strip", "collapse"] = "strip"
    duplicate_key: Literal["text", "words"] = "text"
    min_rows: int = Field(default=1, ge=1)
    min_label_share: float = Field(default=0.0, ge=0, le=1)
    max_quarantined_share: float = Field(default=0.1, ge=0, le=1)
    severity: Severities = Severities()
    splits: SplitSettings = SplitSettings()
