"""The `tuneline data` commands."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from components.contracts.errors import RecipeError, TunelineError
from flows.environment import find_root, prepare
from flows.recipe import listed, load_recipe, recipe_file

if TYPE_CHECKING:
    from flows.data_diff import DataDiff

data = typer.Typer(
    help="Look at a recipe's data, add to it, compare its versions.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@data.command()
def show(
    recipe: Name,
    rows: Annotated[int, typer.Option(min=0, help="How many rows of each split to show.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Show rows, lengths, labels, and what was left out and why."""
    from flows.data_show import open_dataset, show_dataset

    root = find_root(Path.cwd())
    recipe_file(root, recipe)
    dataset = open_dataset(root, recipe)
    if as_json:
        print_json(dataset.facts)
        return
    show_dataset(recipe, dataset, Console(), rows=rows)


@data.command()
def mask(
    recipe: Name,
    row: Annotated[int, typer.Option(help="Which row of the split, counted from 1.")] = 1,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Which split.")
    ] = "train",
    as_json: AsJson = False,
) -> None:
    """Show one row as the model is trained on it: trained tokens apart from the rest."""
    from flows.data_mask import read_mask, show_mask

    root = find_root(Path.cwd())
    recipe_file(root, recipe)
    prepare(root)
    found = read_mask(root, recipe, split, row)
    if as_json:
        print_json(asdict(found))
        return
    show_mask(found, Console())


@data.command()
def accept(recipe: Name) -> None:
    """Remember the data set: its test rows are kept out of later training, drift starts from it."""
    from flows.data_accept import accept as remember

    root = find_root(Path.cwd())
    load_recipe(root, recipe)
    folder = remember(root, recipe)
    print(f"remembered in {folder}; validation of {recipe} looks there from now on")
    print(f"  → git add {folder} && git commit, and `dvc push` where there is a remote")


@data.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of rows.")],
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="The recipe that is to read it.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a file of this name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put FILE among a recipe's inputs, versioned by DVC, and validate all its rows."""
    from flows.data_add import add as put_in
    from flows.data_add import validate_now
    from flows.data_show import show_dataset
    from flows.retrain_events import rows_came

    root = find_root(Path.cwd())
    added = put_in(root, recipe, file.absolute(), replace=replace)
    for line in added.told(recipe):
        tell(line)
    try:
        dataset = validate_now(root, recipe, tell)
    except TunelineError:
        for line in added.left(recipe):
            tell(line)
        raise
    if added.changed:
        rows_came(recipe, [added.file], tell)
    if as_json:
        print_json({"added": asdict(added), "dataset": dataset.facts})
        return
    show_dataset(recipe, dataset, Console())
    if added.changed:
        print(f"  git add -A && git commit   keeps this version; then `tuneline run {recipe}`")


@data.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A git revision.")],
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="Another one; else the working copy.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="Of this recipe; else of all in params.yaml."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the data at two revisions: rows added, removed, changed, moved; drift.

    JSON is a list with an entry for each recipe.
    """
    from flows.data_diff_page import print_diff

    found = compared(find_root(Path.cwd()), recipe, old, new)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    for one in found:
        print_diff(one, Console())


@data.command()
def log(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Else all in params.yaml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of the data in git's history, newest first."""
    from flows.data_log import log as versions_of
    from flows.data_log import print_log

    root = find_root(Path.cwd())
    found = {name: versions_of(root, name) for name in chosen(root, recipe)}
    if as_json:
        print_json([one.model_dump(mode="json") for these in found.values() for one in these])
        return
    for name, versions in found.items():
        print_log(name, versions, Console())


def chosen(root: Path, recipe: str | None) -> Sequence[str]:
    """Return the one recipe that is meant, or all on the line."""
    if recipe is None:
        return listed(root)
    recipe_file(root, recipe)
    return [recipe]


def compared(root: Path, recipe: str | None, old: str, new: str | None) -> "list[DataDiff]":
    """Compare what there is to compare; a recipe without data at a revision is told on the way.

    Raises `RecipeError` if that is so for all of them, or if no recipe but a revision was meant.
    """
    from flows.data_diff import NoDataError, UnknownRevisionError, diff

    found, missing = [], []
    for name in chosen(root, recipe):
        try:
            found.append(diff(root, name, old, new))
        except NoDataError as absent:
            missing.append(absent)
        except UnknownRevisionError as error:
            raise _mistaken(root, error, old, new) from error
    if missing and not found:
        raise missing[0]
    for one in missing:
        tell(f"{one.problem}: left out")
    return found


def _mistaken(root: Path, error: RecipeError, old: str, new: str | None) -> RecipeError:
    """Return the error that says how a recipe is named, where one stands for a revision."""
    if not (root / "recipes" / f"{old}.yaml").is_file():
        return error
    return RecipeError(
        error.problem, fix=f"`tuneline data diff {new or 'HEAD'} --recipe {old}` names the recipe"
    )


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def tell(line: str) -> None:
    """Print what happens on the way: what a command is asked for goes to stdout alone."""
    print(line, file=sys.stderr)
