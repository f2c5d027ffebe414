"""What the file to ship must show before it may become champion."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from components.contracts.settings import Settings

Reference = Literal["base", "tuned", "base_fewshot", "champion"]


class TaskDemand(Settings):
    """What a task of the evaluation must show, by its first measure.

    `better_than`: superiority, p ≤ `alpha` of the paired test after Holm's correction over all
    tasks that must be better than the same model. `not_worse_than`: non-inferiority, the worse end
    of the paired 95 % interval may lose at most `margin`, in the measure's own unit (a share of 1
    for accuracy, F1, chrF …; bits for bits per byte).
    """

    task: str
    better_than: tuple[Reference, ...] = ()
    not_worse_than: tuple[Reference, ...] = ()
    margin: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self.better_than and not self.not_worse_than:
            raise ValueError(f"'{self.task}' demands nothing: give better_than or not_worse_than")
        if self.not_worse_than and self.margin is None:
            raise ValueError(f"not_worse_than of '{self.task}' needs a margin")
        return self


class ChampionDemand(Settings):
    """What the held-out rows must show against the champion, the version that is in use now.

    `max_accuracy_loss`: how far below the champion the lower end of the paired 95 % interval may
    lie. Of plain text `max_bits_per_byte_rise` bounds the upper end of that of bits per byte.
    `superiority` asks for more: better by the same test and `alpha` as against the base.
    """

    max_accuracy_loss: float = Field(default=0.05, ge=0, lt=1)
    max_bits_per_byte_rise: NonNegativeFloat = 0.02
    superiority: bool = False


class GateSettings(Settings):
    """What the file to ship must show.

    `alpha`: largest p of the exact McNemar test against the base (of plain text: of the paired
    bootstrap over documents). `max_accuracy_loss`: how far below the tuned torch model the lower
    end of the paired 95 % interval may lie, as a share. `max_perplexity_rise`: largest relative
    rise of answer and text perplexity over tuned; of plain text, where nothing else is judged, the
    upper end of the rise's paired 95 % interval must lie below it.

    `tasks` are demands on tasks of the evaluation; those without one are only reported. `guards`
    are margins against the base by the guard's name, in its measure's own unit; a guard without one
    has that of `MARGINS`.
    """

    ship: str = "int8"
    min_items: PositiveInt = 300
    alpha: float = Field(default=0.01, gt=0, lt=1)
    max_accuracy_loss: float = Field(default=0.02, ge=0, lt=1)
    max_perplexity_rise: float = Field(default=0.02, ge=0)
    tasks: tuple[TaskDemand, ...] = ()
    guards: Mapping[str, NonNegativeFloat] = Field(default_factory=dict)
    champion: ChampionDemand = ChampionDemand()

    @model_validator(mode="after")
    def _one_demand_a_task(self) -> Self:
        names = [demand.task for demand in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two demands on {', '.join(twice)}: make them one")
        return self


SHARE = 0.05
MARGINS: dict[str, float] = {"bits_per_byte": 0.05, "exposure": 3.0}
"""How much a guard may lose where the recipe does not say, by measure: bits per byte, bits of
exposure; every share of 1 may lose `SHARE`. A perplexity has no margin that fits all texts.
"""
