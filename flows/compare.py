"""`tuneline compare`: two or more runs side by side, in the terminal and as one HTML file."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.contracts.errors import RecipeError
from flows.environment import find_root, prepare, state_folder
from flows.past_runs import KNOWN, open_run


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help=f"Each one: {KNOWN}.")],
    html: Annotated[Path | None, typer.Option(help="Where the page goes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, write no page.")] = False,
) -> None:
    """Compare runs: what each ships, and paired on the items that both answered."""
    root = find_root(Path.cwd())
    prepare(root)
    found = compare_runs(root, runs)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from components.report.side_by_side import page

    console = Console()
    show(found, console)
    place = html or state_folder(root) / "reports" / "compare.html"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(page(found), encoding="utf-8")
    console.print(f"page:  {place}", highlight=False, soft_wrap=True)


def compare_runs(root: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return what `side_by_side` says of the runs; raise `RecipeError` unless there are two."""
    from components.report.side_by_side import side_by_side

    if len(names) < 2:
        raise RecipeError(
            f"{len(names)} run is named, but two or more are compared",
            fix=f"name another one: {KNOWN}",
        )
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(number) for number in range(len(names))]
        for folder in folders:
            folder.mkdir()
        opened = [open_run(root, name, folder) for name, folder in zip(names, folders, strict=True)]
        return side_by_side(opened)


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the table of runs, what differs and how the later ones do against the first."""
    console.print(runs_table(found["runs"]))
    for pair in found["pairs"]:
        for line in pair_lines(pair, len(found["pairs"])):
            console.print(line, soft_wrap=True)
    for run in found["runs"]:
        if run["worst_slice"]:
            console.print(Text(f"{run['name']}: {run['worst_slice']}"), soft_wrap=True)
    if found["settings"]:
        console.print(settings_table(found))


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row a run: what it ships and how that did on its own items."""
    table = Table(title="what each run ships", title_justify="left", box=SIMPLE_HEAD)
    heads = ("run", "file", "verdict", "items", "accuracy", "answer\nppl", "text\nppl", "MB")
    for column in heads:
        table.add_column(column, justify="left" if column in heads[:3] else "right")
    for run in runs:
        shipped = run["shipped"]
        interval = shipped["accuracy_interval"]
        accuracy = _number(shipped["accuracy"], 3)
        table.add_row(
            run["name"],
            run["ship"],
            Text("✓ passed", "green") if run["promote"] else Text("✗ failed", "red"),
            str(shipped["items"]),
            f"{accuracy} ({interval[0]:.3f} … {interval[1]:.3f})" if interval else accuracy,
            _number(shipped["answer_perplexity"], 3),
            _number(shipped["perplexity"], 1),
            _number(run["megabytes"], 1),
        )
    return table


def pair_lines(pair: Mapping[str, Any], pairs: int) -> list[Text]:
    """Return how one run does against the first, and on which items."""
    said = f"{pair['model']} against {pair['reference']}: {pair['words']}"
    if "p_holm" in pair and pairs > 1:
        said += f" (p = {pair['p_holm']:.1g} after Holm over {pairs} pairs)"
    lines = [Text(said, "bold")]
    if pair["items"] < max(pair["of"]):
        ours, theirs = pair["of"]
        lines.append(Text(f"  {pair['items']} items were answered by both, of {ours} and {theirs}"))
    return lines + [Text(f"  {one['task']}: {one['words']}") for one in pair["tasks"]]


def settings_table(found: Mapping[str, Any]) -> Table:
    """Return the settings that differ, one row each."""
    table = Table(title="settings that differ", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("setting")
    for run in found["runs"]:
        table.add_column(run["name"], overflow="fold")
    for row in found["settings"]:
        table.add_row(row["name"], *("–" if v is None else Text(v) for v in row["runs"]))
    return table


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
