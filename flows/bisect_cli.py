"""`tuneline bisect`: the command, and what it prints."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.bisect_result import Bisected
from flows.environment import find_root, prepare


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    metric: Annotated[str, typer.Option(help="The figure that got worse, such as accuracy.")],
    good: Annotated[str, typer.Option(metavar="REV", help="A git revision where it was good.")],
    bad: Annotated[str, typer.Option(metavar="REV", help="A later one where it is not.")] = "HEAD",
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="How much worse counts (default: from the held-out rows)."),
    ] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of a fine-tune.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the version of RECIPE's data, then the file of it, that made the model worse."""
    root = find_root(Path.cwd())
    prepare(root)
    from flows.bisect import bisect
    from flows.bisect_tracking import log_bisected, publish
    from flows.made import quiet_libraries
    from flows.progress import Lines

    quiet_libraries()
    found = bisect(
        root, recipe, metric, good, bad, margin=margin, max_steps=max_steps,
        events=Lines(sys.stderr),
    )  # fmt: skip
    entered = log_bisected(root, found)
    publish(found)
    if as_json:
        print(json.dumps({**found.model_dump(), "words": found.words()}, indent=2))
    else:
        show(found, Console())
    print(entered, file=sys.stderr)
    if found.outcome != "found":
        sys.exit(1)


def show(found: Bisected, console: Console) -> None:
    """Print the versions, what speaks against the finding, and the finding as the last line."""
    table = Table(title=found.recipe, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("commit", "date", found.metric, ""):
        table.add_column(name, justify="right" if name == found.metric else "left", no_wrap=True)
    table.add_column("subject", no_wrap=True, overflow="ellipsis")
    for one in found.versions:
        figure = "–" if one.figure is None else f"{one.figure:.4g}"
        mark = "  ← this one" if found.outcome == "found" and one.commit in found.suspects else ""
        table.add_row(one.commit[:8], one.date, figure, one.verdict + mark, Text(one.subject))
    console.print(table)
    for each in found.files:
        figure = "–" if each.figure is None else f"{each.figure:.4g}"
        console.print(Text(f"  with changes up to {each.upto}: {figure}, {each.verdict}"))
    for point in found.versions:
        if point.note:
            console.print(Text(f"  {point.commit[:8]} cannot be measured: {point.note}"))
    for doubt in found.doubts:
        console.print(Text(f"  doubt: {doubt}", style="yellow"), soft_wrap=True)
    console.print(Text(effort(found), style="dim"), soft_wrap=True)
    console.print(Text(f"{found.recipe}: {found.words()}"), soft_wrap=True)
    if found.outcome == "nothing":
        console.print(
            "  → more steps (--max-steps), more held-out rows (evaluation.max_samples), another "
            "--metric, or a smaller --margin",
            soft_wrap=True,
        )


def effort(found: Bisected) -> str:
    """Say how many short fine-tunes it took, and of how many at most."""
    parts = [f"2 for both ends, {found.looks} among {len(found.versions) - 1} versions"]
    parts[0] += f" (at most {found.most_looks} where all can be measured)"
    parts += [f"{found.file_looks} among files"] if found.file_looks else []
    return (
        f"{found.measured} measured: {', '.join(parts)}; {found.trained} trained now, "
        f"{found.measured - found.trained} known before. {found.max_steps} steps each, "
        f"{found.items} held-out rows, margin {found.margin:.3g} (noise {found.noise:.3g})"
    )
