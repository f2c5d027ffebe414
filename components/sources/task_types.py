"""Whether a checkpoint can be trained to do what the recipe says (`model.task_type`)."""

import json
from pathlib import Path

from components.contracts.errors import ModelError
from components.contracts.task_types import CAUSAL_LM, ENCODERS, SEQ_CLS


def check_task_type(task_type: str, folder: Path) -> None:
    """Raise `ModelError` naming what fits unless the model folder's family fits the task type."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = str(config.get("model_type"))
    found = (config.get("architectures") or [family])[0]
    if task_type == CAUSAL_LM and family in ENCODERS:
        raise ModelError(
            f"model.task_type is {CAUSAL_LM}, but {found} is an encoder: it reads both ways and "
            "cannot go on with a text",
            fix=f"set model.task_type: {SEQ_CLS} for rows with labels, or name a decoder",
        )
    if task_type == SEQ_CLS and family not in ENCODERS:
        raise ModelError(
            f"model.task_type is {SEQ_CLS}, but {found} (model_type {family}) is no encoder that "
            "a head for labels is put on here",
            fix=f"use a model of one of: {', '.join(ENCODERS)}; "
            f"or {CAUSAL_LM}, which learns to write the label",
        )
