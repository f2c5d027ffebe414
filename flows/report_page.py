"""`tuneline report`: the report of the last run with what no artefact holds, measured speeds."""

import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from components.contracts.artefacts import MANIFEST
from components.contracts.errors import ArtefactError
from flows.environment import find_root, prepare, state_folder
from flows.recipe import parse_recipe, recipe_file
from flows.steps import STEPS
from flows.summary import read_speeds


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the report of RECIPE's last run, with measured speeds, as one HTML file."""
    root = find_root(Path.cwd())
    prepare(root)
    recipe_file(root, recipe)
    page = write_page(root, recipe)
    Console().print(str(page), highlight=False, soft_wrap=True)
    if open_it:
        webbrowser.open(page.as_uri())


def write_page(root: Path, recipe: str) -> Path:
    """Write `.tuneline/reports/RECIPE/report.html` and return its path.

    Raises `ArtefactError` if the line has not come as far as its verdict.
    """
    from components.report.line import Page
    from components.report.render import page_html

    settings = parse_recipe(recipe_file(root, recipe)).report
    data = root / "data"
    line, speeds = open_line(data / recipe, recipe), read_speeds(root, recipe)
    page = Page(line, settings, speeds, data / "judged" / recipe)
    file = state_folder(root) / "reports" / recipe / "report.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page_html(page), encoding="utf-8")
    return file


def open_line(folder: Path, recipe: str) -> Any:
    """Return every artefact below `folder` that a report is made of."""
    from components.report.line import Line

    inputs = STEPS["report"].inputs
    missing = [noun for noun in inputs if not (folder / noun / MANIFEST).is_file()]
    if missing:
        raise ArtefactError(
            f"'{recipe}' has no {', '.join(missing)} yet, so there is nothing to report",
            fix=f"tuneline run {recipe}",
        )
    return Line(**{noun: kind.open(folder / noun) for noun, kind in inputs.items()})  # type: ignore[arg-type]
