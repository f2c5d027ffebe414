"""What is learned from the rows, in the spelling of TRL."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from components.contracts.settings import Settings
from components.model.pruning_settings import PruningSettings

Share = Annotated[float, Field(ge=0, le=1)]
PreferenceLoss = Literal["sigmoid", "hinge", "ipo", "robust", "sigmoid_norm"]


class DistillationSettings(Settings):
    """How much of the loss is the teacher's (`model.teacher`), and how its logits are read.

    `alpha` is the teacher's share of the loss, the labels have the rest. `temperature` softens both
    distributions before they are compared. `top_k` keeps the teacher's likeliest tokens, computed
    once before training; `null` compares whole distributions and runs the teacher in every step.
    """

    alpha: Share = 0.5
    temperature: PositiveFloat = 2.0
    top_k: PositiveInt | None = 64


class ObjectiveSettings(Settings):
    """The loss.

    `loss_type: nll` learns the answers (of plain text: the text). All others learn from pairs of a
    chosen and a rejected answer (format `preference`), against the model as it was before training:
    `sigmoid` is DPO, `robust` its form for pairs of which a share `label_smoothing` is the wrong
    way round, `hinge` that of SLiC, `ipo` that of IPO, and `sigmoid_norm` DPO by the token. `beta`
    holds the model to what it was: more of it keeps it nearer. `distillation` mixes a teacher's
    logits into `nll`. `pruning` sets weights of the base to zero first, and the adapter makes up
    for it.
    """

    loss_type: Literal["nll"] | PreferenceLoss = "nll"
    beta: PositiveFloat = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    distillation: DistillationSettings | None = None
    pruning: PruningSettings | None = None

    @property
    def of_pairs(self) -> bool:
        """Whether pairs of answers are learned from."""
        return self.loss_type != "nll"

    @model_validator(mode="after")
    def _smoothing_has_a_use(self) -> Self:
        if self.label_smoothing and self.loss_type != "robust":
            raise ValueError(f"label_smoothing is for loss_type robust, not {self.loss_type}")
        return self

    @model_validator(mode="after")
    def _one_objective(self) -> Self:
        if self.distillation is not None and self.of_pairs:
            raise ValueError(f"distillation goes with loss_type nll, not {self.loss_type}")
        if self.pruning is not None and self.of_pairs:
            raise ValueError(f"pruning goes with loss_type nll, not {self.loss_type}")
        return self
