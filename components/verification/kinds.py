"""How exported files are proved, for each kind of model: one entry a kind (`model.task_type`)."""

from collections.abc import Callable

from components.contracts.kinds import Verification
from components.contracts.task_types import CAUSAL_LM, SEQ_CLS
from components.verification.classifier import verify_classifier
from components.verification.verify import verify_decoder

VERIFIERS: dict[str, Callable[..., Verification]] = {
    CAUSAL_LM: verify_decoder,
    SEQ_CLS: verify_classifier,
}
