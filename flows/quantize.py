"""`tuneline quantize`: the smallest, or fastest, file that loses no more than a margin."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from components.contracts.errors import ArtefactError, ModelError, RecipeError, choose
from components.contracts.events import Context
from components.contracts.kinds import Adapter
from components.contracts.task_types import CAUSAL_LM, task_type_of
from components.export.candidates import CANDIDATES
from components.quantization.front import Goal, Tried, search
from flows.environment import find_root, prepare, scratch_folder, state_folder, stay_offline
from flows.made import open_made, quiet_libraries
from flows.progress import listener
from flows.quantize_measure import FIGURES, SPLIT, Bench
from flows.quantize_show import as_dict, show, write_front
from flows.quantize_write import with_variant
from flows.recipe import Recipe, load_recipe, recipe_file

GOALS: dict[str, Goal] = {"size": "size", "speed": "speed"}


class NoneWithinError(ModelError):
    """No way of rounding that was tried loses as little as was asked for."""

    exit_code = 3


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    within: Annotated[
        str, typer.Option(help="The most that may be lost: points of accuracy, perplexity's rise.")
    ] = "1%",
    text_within: Annotated[
        str | None, typer.Option(help="The same for the perplexity of plain text.")
    ] = None,
    goal: Annotated[str, typer.Option("--for", help="What is wanted: size or speed.")] = "size",
    samples: Annotated[int, typer.Option(min=20, help=f"Rows of the {SPLIT} split.")] = 200,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Try this one (repeatable).")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Try all, also after the smallest has been found.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put the settings into the recipe.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find how few bits RECIPE's model can do with, on the validation split.

    The test items, which the gate judges, are not looked at. Exit code 3: nothing that was tried is
    within the margin.
    """
    margins = margins_of(within, text_within)
    wanted = choose("--for", goal, GOALS, RecipeError)
    known = {name: name for name in CANDIDATES}
    names = [choose("--only", name, known, RecipeError) for name in only or CANDIDATES]
    root = find_root(Path.cwd())
    prepare(root)
    stay_offline()
    settings = load_recipe(root, recipe)
    quiet_libraries()
    bench = open_bench(root, recipe, settings, samples)
    try:
        tried = search(names, bench.measure, margins, wanted, every=every or bool(only))
    finally:
        bench.close()
    told = as_dict(recipe, settings.export, tried, margins, wanted)
    files = write_front(state_folder(root) / "quantize" / recipe, told)
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        show(tried, margins, told, files, Console())
    if told["chosen"] is None:
        raise none_within(tried, margins)
    if write:
        put_into(root, recipe, told)


def open_bench(root: Path, recipe: str, settings: Recipe, samples: int) -> Bench:
    """Open what the candidates are made of and measured on.

    Raises `ArtefactError` where the model has not been trained, `ModelError` where it is none that
    can be searched.
    """
    from components.scoring.tables import read_items

    base, tokens = open_made(root, recipe)
    if task_type_of(base) != CAUSAL_LM:
        raise ModelError(
            f"the search is for decoders; this model is trained for {task_type_of(base)}",
            fix="compare export.variants in the report (`tuneline report`)",
        )
    if not (root / "data" / recipe / "adapter").is_dir():
        raise ArtefactError(
            f"the adapter of recipe '{recipe}' has not been made here",
            fix=f"dvc repro train@{recipe}",
        )
    adapter = Adapter.open(root / "data" / recipe / "adapter")
    items = read_items(tokens, SPLIT, samples)
    if not items:
        raise ArtefactError(
            f"recipe '{recipe}' has no rows in its {SPLIT} split to measure on",
            fix="give validation.splits.validation a share",
        )
    scratch = scratch_folder(root, recipe) / "quantize"
    context = Context(root, scratch, listener(sys.stderr))
    return Bench(
        base, tokens, adapter, settings.export, settings.verification, items, context, scratch
    )


def margins_of(within: str, text_within: str | None) -> dict[str, float]:
    """Return the margin of every figure."""
    margins = dict.fromkeys(FIGURES, share_of(within, "--within"))
    if text_within is not None:
        margins["text perplexity"] = share_of(text_within, "--text-within")
    return margins


def share_of(text: str, option: str) -> float:
    """Return `1%` or `0.01` as a share; raise `RecipeError` for anything else."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise RecipeError(f"{option} {text}: not a share", fix=f"write {option} 1% or 0.01")
    return share


def none_within(tried: Sequence[Tried], margins: dict[str, float]) -> NoneWithinError:
    """Return the error that says which came nearest."""
    best = min((one.measured for one in tried), key=lambda one: one.worst)
    lost = ", ".join(f"{name} {100 * one.value:+.2f} %" for name, one in best.changes.items())
    least = 100 * min(margins.values())
    return NoneWithinError(
        f"none of {len(tried)} files is within {least:g} %; {best.name} loses least: {lost}",
        fix="widen --within, give plain text its own --text-within, or ship fp32",
    )


def put_into(root: Path, recipe: str, told: dict[str, Any]) -> None:
    """Write the chosen settings into the recipe."""
    file, chosen = recipe_file(root, recipe), told["chosen"]
    text = file.read_text(encoding="utf-8")
    place = f"recipes/{file.name}"
    new = with_variant(text, chosen["variant"], chosen["settings"], place)
    file.write_text(new, encoding="utf-8")
    Console(stderr=True).print(
        f"{place}: export.{chosen['variant']} written; gate.ship says which file is shipped",
        highlight=False,
        soft_wrap=True,
    )
