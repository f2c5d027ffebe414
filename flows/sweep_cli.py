"""`tuneline sweep RECIPE`: many short trainings, the best of them by its validation loss."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.contracts.errors import RecipeError
from flows.environment import find_root, prepare, stay_offline
from flows.made import open_made
from flows.recipe import Recipe, load_recipe
from flows.recipe_errors import explain
from flows.recipe_values import write_values, written
from flows.sweep_run import Sweep, best_of, forget, ranked, run_sweep
from flows.sweep_settings import SweepSettings
from flows.sweep_space import parse_parameters
from flows.sweep_trials import Trial

SHOWN = 10
"""How many trials stand in the table at the end."""


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="KEY=…",
            help="training.learning_rate=1e-4,3e-4 or =1e-4..3e-3 or =log:1e-4..3e-3 (repeatable).",
        ),
    ] = None,
    search: Annotated[str | None, typer.Option(help="grid, random or tpe.")] = None,
    trials: Annotated[int | None, typer.Option(help="How many, in all.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many at a time.")] = None,
    pruner: Annotated[str | None, typer.Option(help="median or none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the search, not of the training.")] = None,
    engine: Annotated[str | None, typer.Option(help="ray, processes or auto.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the best into the recipe.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget the trials that this sweep has finished.")
    ] = False,
) -> None:
    """Try settings of RECIPE's training and rank them by validation loss; the test is not touched.

    What is not said here stands in the recipe's `sweep` section. Run it again after a crash:
    finished trials are kept.
    """
    root = find_root(Path.cwd())
    prepare(root)
    stay_offline()
    loaded = load_recipe(root, recipe)
    said = {
        "search": search,
        "trials": trials,
        "workers": workers,
        "pruner": pruner,
        "seed": seed,
        "engine": engine,
        "address": address,
    }
    settings = settings_of(loaded, recipe, param or [], said)
    base, tokens = open_made(root, recipe)
    sweep = Sweep(root, recipe, settings, loaded.training, base, tokens)
    if restart:
        forget(sweep)
    console = Console(highlight=False)
    found = run_sweep(
        sweep,
        lambda trial: console.print(f"  · {line(trial, settings.count)}", soft_wrap=True),
        lambda text: console.print(f"  · {text}", soft_wrap=True),
    )
    show(recipe, settings, found, console)
    best = best_of(found)
    if best is None:
        return
    if write:
        write_values(root, recipe, best.spec.parameters)
        console.print(f"written to recipes/{recipe}.yaml; now: tuneline run {recipe}")
    else:
        console.print(f"tuneline sweep {recipe} … --write puts them into the recipe", style="dim")


def settings_of(recipe: Recipe, name: str, param: list[str], said: dict[str, Any]) -> SweepSettings:
    """Return the recipe's `sweep` section, with what the command line says in its place.

    Raises `RecipeError` where both together do not say what to try.
    """
    data = recipe.sweep.model_dump() if recipe.sweep else {}
    data |= {key: value for key, value in said.items() if value is not None}
    if param:
        data["parameters"] = parse_parameters(param)
        if said["trials"] is None and data.get("search", "grid") == "grid":
            data["trials"] = None
    if not data.get("parameters"):
        raise RecipeError(
            f"recipes/{name}.yaml has no `sweep` section, and no --param was given",
            fix="for example --param training.learning_rate=1e-4,3e-4,1e-3",
        )
    try:
        return SweepSettings.model_validate(data)
    except ValidationError as error:
        told = explain(error, SweepSettings, data, "{}", "sweep")
        raise RecipeError("\n".join(told)) from error


def line(trial: Trial, count: int) -> str:
    """Return one line about a trial that has ended."""
    result = trial.result
    if result is None:
        return f"trial {trial.spec.number}: not over yet"
    tail = f" ({result.message.splitlines()[0]})" if result.message else ""
    loss = "" if result.value is None else f", validation loss {result.value:.4f}"
    words = point(trial)
    return (
        f"trial {trial.spec.number + 1}/{count}: {words}: {result.state}{loss}, "
        f"{result.seconds:.0f} s{tail}"
    )


def point(trial: Trial) -> str:
    """Return what a trial tried, in words."""
    return ", ".join(
        f"{key.partition('.')[2]} {written(value)}" for key, value in trial.spec.parameters.items()
    )


def show(recipe: str, settings: SweepSettings, trials: list[Trial], console: Console) -> None:
    """Print the trials by rank, and the best one's settings."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    keys = list(settings.parameters)
    for name in ("trial", *(key.partition(".")[2] for key in keys), "loss", "steps", "s", ""):
        table.add_column(name, justify="right")
    for trial in ranked(trials)[:SHOWN]:
        result = trial.result
        if result is None:
            continue
        loss = "" if result.value is None else f"{result.value:.4f}"
        values = [written(trial.spec.parameters[key]) for key in keys]
        cells = [loss, str(result.step), f"{result.seconds:.0f}", result.state]
        table.add_row(str(trial.spec.number + 1), *values, *cells)
    console.print(table)
    if best := best_of(trials):
        console.print(f"{recipe}: best: {point(best)}", soft_wrap=True)
