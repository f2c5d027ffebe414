"""How exported files are proved, for each kind of model: one entry a kind (`model.task_type`)."""

from collections.abc import Callable
from functools import partial

from components.contracts.kinds import Verification
from components.contracts.task_types import CAUSAL_LM, MASKED_LM, SEQ_2_SEQ_LM, SEQ_CLS
from components.verification.classifier import Labels, verify_encoder
from components.verification.masked import HiddenTokens
from components.verification.seq2seq import check_targets, merged_seq2seq
from components.verification.verify import Proof, verify_decoder

VERIFIERS: dict[str, Callable[..., Verification]] = {
    CAUSAL_LM: verify_decoder,
    MASKED_LM: partial(verify_encoder, ways=HiddenTokens()),
    SEQ_2_SEQ_LM: partial(verify_decoder, proof=Proof(merged_seq2seq, check_targets)),
    SEQ_CLS: partial(verify_encoder, ways=Labels()),
}
