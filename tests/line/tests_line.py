"""The whole line as plain function calls: the third door."""

from pathlib import Path

from components.contracts.artefacts import Artefact
from components.contracts.events import Context, Heard
from flows.recipe import Recipe
from flows.steps import STEPS

Line = dict[str, Artefact]


def run_line(root: Path, recipe: Recipe, *, until: str = "report") -> Line:
    """Run the steps in order below `root` and return what each wrote, by its noun."""
    made: Line = {}
    for name, step in STEPS.items():
        context = Context(root=root, scratch=root / "scratch", events=Heard())
        context.scratch.mkdir(exist_ok=True)
        inputs = [made[noun] for noun in step.inputs]
        sections = [getattr(recipe, section) for section in step.sections]
        made[step.output] = step.load()(
            *inputs,
            *sections,
            out=root / "out" / step.output,
            context=context,
            **{noun: made[noun] for noun in step.beside},
        )
        if name == until:
            break
    return made
