"""How a trainer is made for each kind of model: one entry a kind (`model.task_type`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.contracts.task_types import CAUSAL_LM, MASKED_LM, SEQ_2_SEQ_LM, SEQ_CLS
from components.training.learn_labels import prepare_classifier
from components.training.learn_masks import prepare_masked
from components.training.learn_sources import prepare_seq2seq
from components.training.train import prepare_decoder

if TYPE_CHECKING:
    from components.training.loop import Trainer

TRAINERS: "dict[str, Callable[..., Trainer]]" = {
    CAUSAL_LM: prepare_decoder,
    MASKED_LM: prepare_masked,
    SEQ_2_SEQ_LM: prepare_seq2seq,
    SEQ_CLS: prepare_classifier,
}
