"""`tuneline verify-resume`: the certificate that an interrupted training goes on bit for bit."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.contracts.events import Context
from components.training.verify_resume import Certificate, verify_resume
from flows.environment import find_root, prepare, scratch_folder, stay_offline
from flows.made import open_made, quiet_libraries
from flows.progress import listener
from flows.recipe import load_recipe


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps of each of the two runs.")] = 12,
) -> None:
    """Train RECIPE twice for a few steps, once interrupted; certify that both are the same."""
    root = find_root(Path.cwd())
    prepare(root)
    stay_offline()
    settings = load_recipe(root, recipe).training
    base, tokens = open_made(root, recipe)
    quiet_libraries()
    scratch = scratch_folder(root, recipe)
    scratch.mkdir(parents=True, exist_ok=True)
    context = Context(root, scratch, listener(sys.stderr))
    found = verify_resume(base, tokens, settings, steps=steps, context=context)
    show(recipe, found, Console())
    if not found.equal:
        sys.exit(1)


def show(recipe: str, found: Certificate, console: Console) -> None:
    """Print both runs step by step, and the verdict as the last line."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("step", "epoch", "batches", "loss, untouched", "loss, resumed", ""):
        table.add_column(column, justify="left" if column == "batches" else "right", no_wrap=True)
    for one, other in zip(found.whole.steps, found.resumed.steps, strict=True):
        losses = ("skipped" if loss is None else repr(loss) for loss in (one.loss, other.loss))
        same = "equal" if one == other else "DIFFERENT"
        table.add_row(str(one.number), str(one.epoch), one.batches[:12], *losses, same)
    console.print(table)
    cuts = " and ".join(map(str, found.interrupted))
    console.print(f"The second run went on from checkpoints after steps {cuts}.", style="dim")
    console.print(f"{recipe}, {found.device}: {found.verdict}", highlight=False, soft_wrap=True)
