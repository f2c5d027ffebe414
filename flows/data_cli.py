"""The `tuneline data` commands."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from flows.environment import find_root, prepare
from flows.recipe import load_recipe, recipe_file

data = typer.Typer(help="Look at a recipe's data, add to it, compare its versions.")
Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@data.command()
def show(recipe: Name, as_json: AsJson = False) -> None:
    """Show rows, lengths, labels, and what was left out and why."""
    from flows.data_show import open_dataset, show_dataset

    root = find_root(Path.cwd())
    recipe_file(root, recipe)
    dataset = open_dataset(root, recipe)
    if as_json:
        print(json.dumps(dataset.facts, indent=2, ensure_ascii=False))
        return
    show_dataset(recipe, dataset, Console())


@data.command()
def mask(
    recipe: Name,
    row: Annotated[int, typer.Option(help="Which row of the split, counted from 1.")] = 1,
    split: Annotated[Literal["train", "validation", "test"], typer.Option()] = "train",
) -> None:
    """Show one row as the model is trained on it: trained tokens apart from the rest."""
    from flows.data_mask import show_mask

    root = find_root(Path.cwd())
    recipe_file(root, recipe)
    prepare(root)
    show_mask(root, recipe, split, row, Console())


@data.command()
def accept(recipe: Name) -> None:
    """Remember the data set: its test rows are kept out of later training, drift starts from it."""
    from components.validation.accepted import accept as remember
    from flows.data_show import open_dataset

    root = find_root(Path.cwd())
    load_recipe(root, recipe)
    folder = root / "data" / "accepted" / recipe
    remember(open_dataset(root, recipe), folder)
    print(f"remembered in {folder.relative_to(root)}; validation of {recipe} looks there")


@data.command()
def add(
    file: Annotated[Path, typer.Argument(help="A file of rows.")],
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="The recipe that is to read it.")],
    replace: Annotated[bool, typer.Option(help="Take the place of a file of this name.")] = False,
) -> None:
    """Put FILE among a recipe's inputs, versioned by DVC, and validate all its rows."""
    from flows.data_add import add as put_in
    from flows.data_add import validate_now
    from flows.data_show import show_dataset

    root = find_root(Path.cwd())
    added = put_in(root, recipe, file.absolute(), replace=replace)
    console = Console()
    if added.accepted:
        print(f"the data so far is remembered in data/accepted/{recipe}")
    elif added.changed:
        print("no earlier data set lies here to remember (in a new clone: `dvc pull` first)")
    print(f"{added.file}: {'added' if added.changed else 'there already, nothing to do'}")
    print(f"recipes/{recipe}.yaml reads {added.path}")
    show_dataset(recipe, validate_now(root, recipe), console)


@data.command()
def diff(
    recipe: Name,
    old: Annotated[str, typer.Argument(help="A git revision.")],
    new: Annotated[str | None, typer.Argument(help="Another one; else the working copy.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a recipe's data at two revisions: rows added, removed, changed, moved; drift."""
    from flows.data_diff import diff as compare
    from flows.data_diff import print_diff

    found = compare(find_root(Path.cwd()), recipe, old, new)
    if as_json:
        print(found.model_dump_json(indent=2))
        return
    print_diff(found, Console())


@data.command()
def log(recipe: Name, as_json: AsJson = False) -> None:
    """List the versions of a recipe's data in git's history."""
    from flows.data_log import log as versions_of
    from flows.data_log import print_log

    versions = versions_of(find_root(Path.cwd()), recipe)
    if as_json:
        print(json.dumps([one.model_dump(mode="json") for one in versions], indent=2))
        return
    print_log(versions, Console())
