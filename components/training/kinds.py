"""How a trainer is made for each kind of model: one entry a kind (`model.task_type`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.contracts.task_types import CAUSAL_LM, SEQ_CLS
from components.training.learn_labels import prepare_classifier
from components.training.train import prepare_decoder

if TYPE_CHECKING:
    from components.training.loop import Trainer

TRAINERS: "dict[str, Callable[..., Trainer]]" = {
    CAUSAL_LM: prepare_decoder,
    SEQ_CLS: prepare_classifier,
}
