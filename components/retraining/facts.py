"""What a tick knows when it decides, and what it decides: plain values, kept as JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["skip", "evaluate only", "fine-tune"]
Start = Literal["fresh", "champion"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChampionFacts(_Frozen):
    """The version in use. `adapter` says whether its adapter can be had to go on from."""

    version: str
    age_days: float
    adapter: bool = False


class DataFacts(_Frozen):
    """The checked rows of now against those that the champion saw.

    `known`: those could be had; otherwise all rows count as new. `new_rows` and `gone_rows` count
    rows (text and answer) after deduplication. `drift` are PSI figures by name, `label_shift` the
    largest change of a label's share (0 to 1); None without labels.
    """

    rows: int
    new_rows: int
    gone_rows: int
    known: bool = True
    drift: dict[str, float] = Field(default_factory=dict)
    label_shift: float | None = None

    @property
    def changed_rows(self) -> int:
        """Rows that came or went, whichever are more: a corrected row is one, not two."""
        return max(self.new_rows, self.gone_rows)

    @property
    def changed_share(self) -> float:
        return self.changed_rows / max(self.rows, 1)


class BudgetFacts(_Frozen):
    """Hours of this calendar month, and what the last fine-tune took (0: there was none)."""

    used_hours: float
    forecast_hours: float = 0.0
    accelerator: bool = False


class Half(_Frozen):
    """What the champion scored on one part of the held-out rows. Intervals are 95 % (Wilson)."""

    items: int
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    bits_per_byte: float | None = None


class Rescored(_Frozen):
    """The champion on the held-out rows that it was judged on (`known`) and on those since."""

    known: Half
    fresh: Half


class Tried(_Frozen):
    """A version that was made of these very rows and is not champion."""

    version: str
    verdict: str


class Facts(_Frozen):
    """What a tick knows. `None`: not known, or not asked because nothing hangs on it.

    `changed`: the inputs are not those that the champion was made of. `fault`: why the rows of now
    are not fit to train on. `failures`: how often a fine-tune or
    an evaluation on these rows has failed.
    """

    champion: ChampionFacts | None
    changed: bool
    fault: str | None = None
    data: DataFacts | None = None
    budget: BudgetFacts | None = None
    tried: Tried | None = None
    failures: int = 0
    rescored: Rescored | None = None


class Decision(_Frozen):
    """What is done, with the reasons in words. `start` says what a fine-tune begins from."""

    action: Action
    reasons: tuple[str, ...]
    start: Start | None = None
