"""Whether a checkpoint can be trained to do what the recipe says (`model.task_type`)."""

import json
from collections.abc import Mapping
from pathlib import Path

from components.contracts.errors import ModelError
from components.contracts.task_types import (
    CAUSAL_LM,
    ENCODERS,
    MASKED_LM,
    SEQ2SEQ,
    SEQ_2_SEQ_LM,
    SEQ_CLS,
)

FAMILIES: Mapping[str, tuple[str, ...]] = {
    SEQ_CLS: ENCODERS,
    MASKED_LM: ENCODERS,
    SEQ_2_SEQ_LM: SEQ2SEQ,
}
"""The families of a task type; decoders are all others."""

WHAT: Mapping[str, str] = {
    CAUSAL_LM: "decoder",
    SEQ_CLS: "encoder that a head for labels is put on here",
    MASKED_LM: "encoder that tells hidden tokens here",
    SEQ_2_SEQ_LM: "encoder-decoder that is trained here",
}
READS: Mapping[str, str] = {
    SEQ_CLS: "an encoder: it reads both ways and cannot go on with a text",
    SEQ_2_SEQ_LM: "an encoder-decoder: it reads one text and writes another",
}


def check_task_type(task_type: str, folder: Path) -> None:
    """Raise `ModelError` naming what fits unless the model folder's family fits the task type."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = str(config.get("model_type"))
    found = (config.get("architectures") or [family])[0]
    fitting = [name for name, families in FAMILIES.items() if family in families]
    if task_type == CAUSAL_LM and fitting:
        rows = " for rows with labels" if fitting[0] == SEQ_CLS else " for prompts with answers"
        raise ModelError(
            f"model.task_type is {CAUSAL_LM}, but {found} is {READS[fitting[0]]}",
            fix=f"set model.task_type: {fitting[0]}{rows}, or name a decoder",
        )
    if task_type != CAUSAL_LM and task_type not in fitting:
        other = fitting[0] if fitting else CAUSAL_LM
        raise ModelError(
            f"model.task_type is {task_type}, but {found} (model_type {family}) is no "
            f"{WHAT[task_type]}",
            fix=f"use a model of one of: {', '.join(FAMILIES[task_type])}; "
            f"or set model.task_type: {other}",
        )
