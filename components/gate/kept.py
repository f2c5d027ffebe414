"""Not worse by more than a margin: what is asked of guards and of most tasks."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.scoring.measures import measure_named
from components.scoring.paired import Paired
from components.scoring.score_interval import score_interval


@dataclass(frozen=True)
class Kept:
    """Non-inferiority by the paired 95 % interval: its worse end loses at most `margin`.

    That is a one-sided test at 2.5 % (Wellek 2010, ch. 1). `loss` is positive where the model is
    worse, whichever way the measure points; `worst` is the worse end. Where items are right or
    wrong the interval is Tango's, which knows how little a few items can show.
    """

    paired: Paired
    margin: float

    @property
    def loss(self) -> float:
        return -self.sign * self.paired.difference

    @property
    def worst(self) -> float:
        return max(-self.sign * end for end in self.interval)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The paired 95 % interval of the difference."""
        one = self.paired
        if one.gained is None or one.lost is None:
            return one.interval
        return score_interval(one.gained, one.lost, one.items)

    @property
    def sign(self) -> int:
        return 1 if measure_named(self.paired.measure).higher_is_better else -1

    @property
    def passed(self) -> bool:
        return self.worst <= self.margin

    def words(self) -> str:
        """Say it in a sentence; one that fails says whether it is worse or merely not shown."""
        share = measure_named(self.paired.measure).points
        scale, unit = (100, " points") if share else (1, "")
        change, low, high = (scale * value for value in (self.paired.difference, *self.interval))
        said = (
            f"{self.paired.measure} {change:+.3g}{unit} ({low:+.3g} … {high:+.3g}; "
            f"may lose at most {scale * self.margin:.3g}{unit}), {self.paired.items} items"
        )
        if not self.passed and self.loss <= self.margin:
            said += ": too few to show that no more is lost"
        return said

    def facts(self) -> dict[str, Any]:
        return {
            "measure": self.paired.measure,
            "items": self.paired.items,
            "difference": self.paired.difference,
            "interval": list(self.interval),
            "loss": self.loss,
            "worst": self.worst,
            "margin": self.margin,
            "passed": self.passed,
        }


def paired_of(facts: dict[str, Any]) -> Paired:
    """Return the comparison that `Paired.facts` told."""
    values = {name: facts[name] for name in Paired.__dataclass_fields__}
    return Paired(**{**values, "interval": tuple(facts["interval"])})
