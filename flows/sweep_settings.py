"""The recipe's `sweep` section: which settings are tried, in which order, and on what."""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from components.contracts.settings import Settings


class Range(Settings):
    """All values from `low` to `high`, both included; whole numbers where both ends are whole.

    With `log` they are spread evenly over orders of magnitude.
    """

    low: int | float
    high: int | float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low must be below high, but it is {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}: a logarithmic range lies above 0")
        return self


Domain = Range | Annotated[tuple[Any, ...], Field(min_length=1)]


class SweepSettings(Settings):
    """Trials of one recipe.

    `parameters` are settings of the `training` section with a list of values or a `Range` each.
    `search: grid` tries every combination of lists, `random` draws `trials` points, `tpe` lets
    Optuna's tree-structured Parzen estimator propose them from what came out so far. The metric is
    the lowest validation loss of a trial.

    `pruner: median` ends a trial early when its best loss so far is above the median of the others
    at the same step (Optuna's MedianPruner); `null` prunes with `tpe` only. Until
    `n_startup_trials` are over nothing is pruned, and `tpe` draws at random.

    `workers` trials run at a time, each with `num_cpus` and `num_gpus`. `engine: auto` takes child
    processes of this machine, or Ray where `address` names a cluster; `ray` without an address is a
    cluster of its own here. All nodes see the project's folder under the same path.
    """

    parameters: dict[str, Domain] = Field(min_length=1)
    search: Literal["grid", "random", "tpe"] = "grid"
    trials: PositiveInt | None = None
    seed: NonNegativeInt = 0
    pruner: Literal["median", "none"] | None = None
    n_startup_trials: PositiveInt = 5
    workers: PositiveInt = 1
    num_cpus: PositiveFloat = 1.0
    num_gpus: NonNegativeFloat = 0.0
    engine: Literal["auto", "ray", "processes"] = "auto"
    address: str | None = None

    @property
    def prunes(self) -> bool:
        return self.search == "tpe" if self.pruner is None else self.pruner == "median"

    @property
    def count(self) -> int:
        """How many trials there are in all."""
        return self.trials or combinations(self.parameters)

    @model_validator(mode="after")
    def _fits_the_search(self) -> "SweepSettings":
        if self.search != "grid":
            if self.trials is None:
                raise ValueError(f"search: {self.search} needs to know how many: set trials")
            return self
        for name, domain in self.parameters.items():
            if isinstance(domain, Range):
                raise ValueError(
                    f"a grid needs a list of values, but {name} is a range: "
                    "write a list, or set search: random or tpe"
                )
        whole = combinations(self.parameters)
        if self.trials not in (None, whole):
            raise ValueError(
                f"the grid has {whole} combinations, but trials is {self.trials}: leave trials "
                "out, or set search: random"
            )
        return self

    @model_validator(mode="after")
    def _address_is_of_ray(self) -> "SweepSettings":
        if self.address and self.engine == "processes":
            raise ValueError("address is that of a Ray cluster, which engine: processes has not")
        return self


def combinations(parameters: Mapping[str, Domain]) -> int:
    """Return the number of points of a grid over lists."""
    return prod(len(domain) for domain in parameters.values() if not isinstance(domain, Range))
