"""`tuneline retrain`: one tick, by hand."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from components.contracts.errors import TunelineError
from flows.environment import find_root, prepare
from flows.recipe import Recipe, load_recipe
from flows.retrain_tick import Tick, alone, read_tick

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")]


class BusyError(TunelineError):
    """Another tick of the recipe is at work in this working copy."""

    exit_code = 3


def retrain(
    recipe: Name,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Decide (validating new rows), but do and record nothing."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Skip, score the champion again, or fine-tune: whatever RECIPE's new rows are worth."""
    root = find_root(Path.cwd())
    prepare(root)
    settings = load_recipe(root, recipe)
    tick = decided(root, recipe, settings, dry_run=dry_run)
    if not dry_run and tick.decision.action != "skip":
        tick = through_prefect(root, recipe, tick)
    show(recipe, tick, as_json=as_json)


def decided(root: Path, recipe: str, settings: Recipe, *, dry_run: bool) -> Tick:
    """Look and decide; a skip is recorded at once, without Prefect. Raises `BusyError`."""
    from flows.incoming import take_incoming
    from flows.retrain_act import record
    from flows.retrain_look import look

    with alone(root, recipe) as first:
        if not first:
            raise BusyError(
                f"another tick of {recipe} is at work here", fix="wait for it, then run again"
            )
        if not dry_run and take_incoming(root, recipe, settings, tell):
            settings = load_recipe(root, recipe)
        tick = look(root, recipe, settings, tell)
        if not dry_run and tick.decision.action == "skip":
            tick = record(root, recipe, tick, tick.champion.run if tick.champion else None)
        return tick


def through_prefect(root: Path, recipe: str, tick: Tick) -> Tick:
    """Run the flow; end the command with exit code 1 if it fails."""
    from flows.cli import quiet_prefect

    quiet_prefect()
    os.chdir(root)
    from flows.retrain import retrain as flow
    from flows.terminal import Terminal

    with Terminal(Console(stderr=True)):
        state = flow(recipe, return_state=True)
    if not state.is_completed():
        Console(stderr=True).print(Text(f"\n{state.message}", style="red"), soft_wrap=True)
        sys.exit(1)
    return read_tick(root, recipe) or tick


def show(recipe: str, tick: Tick, *, as_json: bool) -> None:
    from flows.retrain_words import lines

    if as_json:
        print(tick.model_dump_json(indent=2))
        return
    for line in lines(recipe, tick):
        print(line)


def tell(line: str) -> None:
    """Print what happens on the way: the decision goes to stdout alone."""
    print(line, file=sys.stderr)
