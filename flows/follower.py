"""A stage that several processes run together (torchrun): what all but the first of them do.

They take part in the step, and neither write artefacts, nor keep records, nor tell anything.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from components.contracts.errors import TunelineError
from components.contracts.events import Context
from components.contracts.settings import Settings
from flows.environment import scratch_folder, stay_offline
from flows.steps import Step


def follows() -> bool:
    """Say whether another process of a group writes and tells: torchrun gives each its number."""
    return int(os.environ.get("RANK", "0")) > 0


def follow(root: Path, recipe: str, step: Step, load: Callable[[Path, str], Settings]) -> int:
    """Take part in a stage; return the exit code."""
    settings = load(root, recipe)
    sections = [getattr(settings, section) for section in step.sections]
    stay_offline()
    data = root / "data" / recipe
    try:
        inputs = [kind.open(data / noun) for noun, kind in step.inputs.items()]
        scratch = scratch_folder(root, recipe)
        scratch.mkdir(parents=True, exist_ok=True)
        step.load()(*inputs, *sections, out=data / step.output, context=Context(root, scratch))
    except TunelineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
