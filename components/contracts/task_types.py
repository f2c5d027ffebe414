"""What a model is trained to do, in the spelling of peft's TaskType (`model.task_type`)."""

from typing import Literal

from components.contracts.kinds import BaseModelFolder

TaskType = Literal["CAUSAL_LM", "MASKED_LM", "SEQ_2_SEQ_LM", "SEQ_CLS"]

CAUSAL_LM: TaskType = "CAUSAL_LM"
"""A decoder that goes on with a text."""

MASKED_LM: TaskType = "MASKED_LM"
"""An encoder that tells hidden tokens (peft has no name for it, transformers `…ForMaskedLM`)."""

SEQ_2_SEQ_LM: TaskType = "SEQ_2_SEQ_LM"
"""An encoder that reads a text, and a decoder that writes another one to it."""

SEQ_CLS: TaskType = "SEQ_CLS"
"""An encoder with a head that gives a text one of several labels."""

FACT = "task_type"

ENCODERS = ("albert", "bert", "distilbert", "electra", "roberta", "xlm-roberta")
"""Families (`model_type` in config.json) of encoders: they get a head for labels or tokens."""

SEQ2SEQ = ("mt5", "t5", "umt5")
"""Families of encoder-decoders: T5, T5 v1.1, Flan-T5, mT5, umT5."""


def task_type_of(base: BaseModelFolder) -> str:
    """Return what a base model is for; one fetched before there was a choice is a decoder."""
    return str(base.facts.get(FACT, CAUSAL_LM))
