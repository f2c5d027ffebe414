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
