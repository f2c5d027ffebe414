"""What a model is trained to do, in the spelling of peft's TaskType (`model.task_type`)."""

from typing import Literal

from components.contracts.kinds import BaseModelFolder

TaskType = Literal["CAUSAL_LM", "SEQ_CLS"]

CAUSAL_LM: TaskType = "CAUSAL_LM"
"""A decoder that goes on with a text."""

SEQ_CLS: TaskType = "SEQ_CLS"
"""An encoder with a head that gives a text one of several labels."""

FACT = "task_type"

ENCODERS = ("albert", "bert", "distilbert", "electra", "roberta", "xlm-roberta")
"""Families (`model_type` in config.json) of encoders that a head for labels is put on."""


def task_type_of(base: BaseModelFolder) -> str:
    """Return what a base model is for; one fetched before there was a choice is a decoder."""
    return str(base.facts.get(FACT, CAUSAL_LM))
