"""What is pruned away, and in what pattern."""

from typing import Literal, Self

from pydantic import Field, model_validator

from components.contracts.settings import Settings


class PruningSettings(Settings):
    """Weights of every linear layer but the head, set to zero by their magnitude, layer by layer.

    `sparsity` is the share that goes. `sparsity_type: "2:4"` takes two of every four that lie next
    to each other along the input, the pattern that tensor cores multiply faster; its `sparsity` is
    always 0.5.
    """

    sparsity: float = Field(default=0.5, gt=0, lt=1)
    sparsity_type: Literal["unstructured", "2:4"] = "unstructured"

    @model_validator(mode="after")
    def _half(self) -> Self:
        if self.sparsity_type == "2:4" and self.sparsity != 0.5:
            raise ValueError(f"2:4 is a sparsity of 0.5, not {self.sparsity}")
        return self
