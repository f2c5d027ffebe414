"""One stage as its step alone: `python -m benchmarks.bare_stage STAGE RECIPE`, in a project.

Prints the seconds of the step. Nothing of DVC, Prefect or MLflow is loaded: checked at the end.
"""

import sys
import time
from pathlib import Path
from typing import Any

from components.contracts.events import Context
from flows.environment import prepare, scratch_folder, stay_offline
from flows.recipe import load_recipe
from flows.steps import STEPS

ORCHESTRATION = {"dvc", "mlflow", "prefect"}


def main() -> None:
    name, recipe = sys.argv[1:]
    root, step = Path.cwd(), STEPS[name]
    prepare(root)
    settings = load_recipe(root, recipe)
    sections = [getattr(settings, section) for section in step.sections]
    if not any(getattr(section, "kind", None) == "hub" for section in sections):
        stay_offline()
    data = root / "data" / recipe
    inputs = [kind.open(data / noun) for noun, kind in step.inputs.items()]
    named: dict[str, Any] = {folder: root / "data" / folder / recipe for folder in step.folders}
    beside = {noun: kind for noun, kind in step.beside.items() if (data / noun).is_dir()}
    named |= {noun: kind.open(data / noun) for noun, kind in beside.items()}
    context = Context(root, scratch_folder(root, recipe))
    context.scratch.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    step.load()(*inputs, *sections, out=data / step.output, context=context, **named)
    print(time.monotonic() - started)
    if loaded := ORCHESTRATION & sys.modules.keys():
        sys.exit(f"{name} is not bare: it has loaded {', '.join(sorted(loaded))}")


if __name__ == "__main__":
    main()
