"""`tuneline quantize`: the smallest, or fastest, file that loses no more than a margin."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.contracts.artefacts import write_json
from components.contracts.errors import ArtefactError, ModelError, RecipeError, choose
from components.contracts.events import Context
from components.contracts.kinds import Adapter
from components.contracts.task_types import CAUSAL_LM, task_type_of
from components.export.candidates import CANDIDATES, settings_of
from components.quantization.front import Goal, Tried, front, search
from flows.environment import find_root, prepare, scratch_folder, state_folder, stay_offline
from flows.made import open_made, quiet_libraries
from flows.progress import listener
from flows.quantize_measure import SPLIT, Bench
from flows.quantize_write import flow, with_variant
from flows.recipe import Recipe, load_recipe, recipe_file

FIGURES = ("accuracy", "answer perplexity", "text perplexity")
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
    told = as_dict(recipe, settings, tried, margins, wanted)
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


def show(
    tried: Sequence[Tried],
    margins: dict[str, float],
    told: dict[str, Any],
    files: Sequence[Path],
    console: Console,
) -> None:
    """Print what was tried, the smallest first, and the settings that won."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    figures = [name for name in FIGURES if any(name in one.measured.changes for one in tried)]
    heads = ("", "MB", "bits", *figures, "prefill/s", "decode/s", "rows", "")
    for at, head in enumerate(heads):
        table.add_column(head, justify="left" if at in (0, len(heads) - 1) else "right")
    for one in sorted(tried, key=lambda one: one.measured.bytes):
        table.add_row(*cells(one, figures), style="bold" if one.chosen else None)
    console.print(table)
    limits = ", ".join(f"{name} {100 * margins[name]:g} %" for name in figures)
    console.print(
        f"Losses against full precision on the {SPLIT} split; margins: {limits}. The gate's items "
        "were not looked at.",
        style="dim",
    )
    if told["chosen"] is not None:
        chosen = told["chosen"]
        console.print(f"{chosen['variant']}: {flow(chosen['settings'])}", soft_wrap=True)
    for file in files:
        console.print(str(file), highlight=False, soft_wrap=True, style="dim")


def cells(one: Tried, figures: Sequence[str]) -> list[str]:
    """Return the row of a candidate."""
    found = one.measured
    mark = "chosen" if one.chosen else "within" if one.within else "beyond"
    return [
        found.name,
        f"{found.bytes / 1e6:.0f}",
        f"{found.bits:.2f}",
        *(
            f"{100 * found.changes[name].value:+.2f} %" if name in found.changes else "–"
            for name in figures
        ),
        f"{found.prefill:.0f}",
        f"{found.decode:.1f}",
        str(found.items),
        f"{mark} (part)" if one.screened else mark,
    ]


def as_dict(
    recipe: str, settings: Recipe, tried: Sequence[Tried], margins: dict[str, float], goal: Goal
) -> dict[str, Any]:
    """Return the search as JSON values; `front` names what nothing else beats."""
    winner = next((one.measured.name for one in tried if one.chosen), None)
    return {
        "recipe": recipe,
        "split": SPLIT,
        "for": goal,
        "margins": margins,
        "front": sorted(front(one.measured for one in tried)),
        "candidates": [
            {
                **asdict(one.measured),
                "within": one.within,
                "screened": one.screened,
                "chosen": one.chosen,
            }
            for one in tried
        ],
        "chosen": None if winner is None else settings_told(winner, settings),
    }


def settings_told(name: str, settings: Recipe) -> dict[str, Any]:
    """Return what stands in a recipe for a candidate: only what is no default."""
    found = settings_of(name, settings.export)
    (variant,) = found.variants
    told = getattr(found, variant).model_dump(mode="json", exclude_defaults=True)
    return {"name": name, "variant": variant, "settings": told}


def write_front(folder: Path, told: dict[str, Any]) -> list[Path]:
    """Write the front as JSON and as a plot; return both files."""
    from components.report.front_plot import quality_size_speed

    folder.mkdir(parents=True, exist_ok=True)
    numbers, plot = folder / "front.json", folder / "front.svg"
    write_json(numbers, told)
    plot.write_text(quality_size_speed(told), encoding="utf-8")
    return [numbers, plot]


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
