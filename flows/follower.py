"""A stage that several processes run together (torchrun): what all but the first of them do.

They take part in the step, and neither write artefacts, nor keep records, nor tell anything.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from components.contracts.errors import RecipeError, TunelineError, choose
from components.contracts.events import Context
from components.contracts.settings import Settings
from flows.environment import scratch_folder, stay_offline
from flows.steps import Step

TOGETHER = "adapter"
"""What several processes can make together."""


def follows() -> bool:
    """Say whether another process of a group writes and tells: torchrun gives each its number."""
    return int(os.environ.get("RANK", "0")) > 0


def follow(
    root: Path,
    name: str,
    recipe: str,
    steps: Mapping[str, Step],
    load: Callable[[Path, str], Settings],
) -> int:
    """Take part in a stage; return the exit code. Faults are told without a traceback."""
    try:
        take_part(root, choose("stage", name, dict(steps), RecipeError), recipe, load)
    except TunelineError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def take_part(root: Path, step: Step, recipe: str, load: Callable[[Path, str], Settings]) -> None:
    """Call the step as the stage does, heard by nobody.

    Raises:
        RecipeError: several processes were started for a stage that runs in one.
    """
    if step.output != TOGETHER:
        raise RecipeError(
            f"several processes were started for a stage that makes '{step.output}' in one",
            fix="start the train stage alone with torchrun",
        )
    settings = load(root, recipe)
    sections = [getattr(settings, section) for section in step.sections]
    stay_offline()
    data = root / "data" / recipe
    inputs = [kind.open(data / noun) for noun, kind in step.inputs.items()]
    scratch = scratch_folder(root, recipe)
    scratch.mkdir(parents=True, exist_ok=True)
    step.load()(*inputs, *sections, out=data / step.output, context=Context(root, scratch))
