"""Better, or not worse by more than a margin: the two questions asked of every paired figure."""

from dataclasses import dataclass
from typing import Any

from components.scoring.measures import measure_named
from components.scoring.paired import Paired


@dataclass(frozen=True)
class Kept:
    """Non-inferiority by the paired 95 % interval: its worse end loses at most `margin`.

    That is a one-sided test at 2.5 % (Wellek 2010, ch. 1). `loss` is positive where the model is
    worse, whichever way the measure points; `worst` is the worse end.
    """

    paired: Paired
    margin: float

    @property
    def loss(self) -> float:
        return -self.sign * self.paired.difference

    @property
    def worst(self) -> float:
        return max(-self.sign * end for end in self.paired.interval)

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
        change, low, high = (
            scale * value for value in (self.paired.difference, *self.paired.interval)
        )
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
            "interval": list(self.paired.interval),
            "loss": self.loss,
            "worst": self.worst,
            "margin": self.margin,
            "passed": self.passed,
        }


def paired_of(facts: dict[str, Any]) -> Paired:
    """Return the comparison that `Paired.facts` told."""
    values = {name: facts[name] for name in Paired.__dataclass_fields__}
    return Paired(**{**values, "interval": tuple(facts["interval"])})
