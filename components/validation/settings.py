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
    length: RowSeverity = "quarantine"
    script: RowSeverity = "quarantine"
    language: RowSeverity = "warn"
    personal_data: RowSeverity = "warn"
    toxicity: RowSeverity = "warn"
    label_conflict: RowSeverity = "quarantine"
    duplicate: RowSeverity = "quarantine"
    near_duplicate: RowSeverity = "warn"
    leakage: RowSeverity = "quarantine"
    near_leakage: RowSeverity = "warn"
    holdout: RowSeverity = "quarantine"
    contamination: RowSeverity = "quarantine"
    min_rows: TotalSeverity = "stop"
    label_share: TotalSeverity = "stop"
    quarantined_share: TotalSeverity = "stop"
    split_rows: TotalSeverity = "stop"
    drift: TotalSeverity = "warn"


class SplitSettings(Settings):
    """Shares of the splits. A row's split depends on its text and `seed` only.

    `group_by` is a column whose equal values stay together. `group_near_duplicates` keeps nearly
    equal texts together. `stratify` gives each label its exact share in every split; rows that are
    added then move a few rows at the edges of the splits (docs/data.md says how many).
    """

    train: float = Field(default=0.8, gt=0, le=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0
    group_by: str | None = None
    group_near_duplicates: bool = False
    stratify: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test must add up to 1, not {total:g}")
        return self


class EvaluationSet(Settings):
    """A local file whose texts must not be trained on: .jsonl, .csv, .tsv, .parquet or .txt.

    `columns` hold the texts; a .txt file has one a line.
    """

    path: str
    columns: tuple[str, ...] = ("text",)


PersonalData = Literal["email", "phone", "card", "iban", "ip", "secret"]


class ValidationSettings(Settings):
    """How rows are cleaned and what is expected of them.

    `whitespace`: `strip` takes it from the ends, `collapse` also makes every run of it one space.
    `duplicate_key` is what makes two texts the same: `text` ignores case and spacing; `words` also
    ignores everything but letters and digits, for short messages that come in many spellings.
    `near_duplicate_threshold` is how alike two texts must be to count as nearly the same: 0.8 means
    that about a fifth of the characters may differ (fewer in a text of under 40 characters); null
    leaves near copies alone everywhere. `scripts` are Unicode script names
    (Latin, Cyrillic, Han, …), `min_script_share` the share of a text's letters in them.
    `languages` are ISO 639 codes (the `language` extra), and count where fastText is at least
    `min_language_score` sure. `presidio` looks for names and places too (the `presidio` extra) in
    texts of `presidio_language`, read by the spaCy pipeline `presidio_model` (null: the small one).
    `toxic_words` replaces the list of words that count as toxic.
    `contamination_words` is the length of a run of words that no text may share with an evaluation
    set. `max_psi` and `max_ks` bound the drift from the last accepted data.
    """

    unescape_html: bool = False
    whitespace: Literal["keep", "strip", "collapse"] = "strip"
    duplicate_key: Literal["text", "words"] = "text"
    min_characters: int | None = Field(default=None, ge=0)
    max_characters: int | None = Field(default=None, ge=1)
    min_words: int | None = Field(default=None, ge=0)
    max_words: int | None = Field(default=None, ge=1)
    scripts: tuple[str, ...] = ()
    min_script_share: float = Field(default=0.5, ge=0, le=1)
    languages: tuple[str, ...] = ()
    min_language_score: float = Field(default=0.5, ge=0, le=1)
    personal_data: tuple[PersonalData, ...] = ("email", "phone", "card", "iban", "ip", "secret")
    presidio: bool = False
    presidio_language: str = "en"
    presidio_model: str | None = None
    toxic_words: tuple[str, ...] = ()
    max_toxic_share: float = Field(default=0.2, ge=0, le=1)
    near_duplicate_threshold: float | None = Field(default=0.8, gt=0, le=1)
    contamination: tuple[EvaluationSet, ...] = ()
    contamination_words: int = Field(default=13, ge=3)
    min_rows: int = Field(default=1, ge=1)
    min_label_share: float = Field(default=0.0, ge=0, le=1)
    max_quarantined_share: float = Field(default=0.1, ge=0, le=1)
    max_psi: float = Field(default=0.2, ge=0)
    max_ks: float = Field(default=0.1, ge=0, le=1)
    severity: Severities = Severities()
    splits: SplitSettings = SplitSettings()
