"""`tuneline judge`: people see two models' answers blind and say which is better."""

import json
import re
import sys
import time
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from components.contracts.artefacts import read_manifest
from components.contracts.errors import RecipeError
from components.contracts.events import Context
from flows.environment import find_root, prepare, scratch_folder, stay_offline
from flows.made import quiet_libraries
from flows.person import user
from flows.progress import listener
from flows.recipe import load_recipe

if TYPE_CHECKING:
    from components.judging.sheet import Sheet, Wish

RATER = re.compile(r"[\w.@-][\w .@-]{0,63}")


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    rater: Annotated[str | None, typer.Option(help="Who judges [this machine's user].")] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Two models: reference,model [base and the file to ship]."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Answers to this task, not to held-out rows.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Pairs to judge, at most [as before, or 100].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draws and shuffles the pairs [as before, or 0].")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of answers generated for this [as before, or 256].")
    ] = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the blind sheet as CSV.")
    ] = None,
    import_from: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Read a filled-in sheet.")
    ] = None,
    result: Annotated[bool, typer.Option("--result", help="Only tell what came of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Tell the result as JSON.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Judge answers of two models to RECIPE's held-out items, blind: 1, 2, 0 for a tie, u undoes.

    Every choice is kept at once in data/judged/RECIPE/; stop and go on whenever you like.
    """
    from components.judging.sheet import Wish

    root = find_root(Path.cwd())
    prepare(root)
    stay_offline()
    load_recipe(root, recipe)
    name = rater_named(rater)
    wish = Wish(models_named(root, recipe, models), task)
    given = {"samples": samples, "seed": seed, "max_new_tokens": max_new_tokens}
    sheet = open_or_make(root, recipe, wish, given)
    if export_to is not None:
        export(sheet, name, export_to)
        return
    if import_from is not None:
        import_(sheet, name, import_from)
    elif not (result or as_json):
        serve(sheet, name, port=port, browser=browser)
    finish(root, recipe, sheet, as_json=as_json, logs=not (result or as_json))


def rater_named(given: str | None) -> str:
    """Return the rater's name; raise `RecipeError` for one that cannot stand in a file."""
    name = (user() if given is None else given).strip()
    if not RATER.fullmatch(name):
        raise RecipeError(
            f"--rater is {name!r}, which is no name for a rater",
            fix="use up to 64 letters, digits, blanks and . _ - @",
        )
    return name


def models_named(root: Path, recipe: str, given: str | None) -> tuple[str, str]:
    """Return reference and model: as given, or the base and what the verdict names."""
    if given is None:
        verdict = read_manifest(root / "data" / recipe / "verdict")
        return "base", str(verdict["facts"]["ship"])
    names = [name.strip() for name in given.split(",")]
    if len(names) != 2:
        raise RecipeError(
            f"--models is {given!r}, but two names are needed", fix="write --models base,int8"
        )
    return names[0], names[1]


def open_or_make(root: Path, recipe: str, wish: "Wish", given: dict[str, Any]) -> "Sheet":
    """Return the sheet of a wish; what is not given is as on the sheet that is there."""
    from components.judging.line import Line
    from components.judging.sheet import make_sheet, open_sheet

    folder = root / "data" / "judged" / recipe / wish.name
    known = open_sheet(folder)
    before = {key: known.facts[key] for key in given} if known else {}
    wish = replace(wish, **before | {key: v for key, v in given.items() if v is not None})
    quiet_libraries()
    context = Context(root, scratch_folder(root, recipe) / "judged", listener(sys.stderr))
    return make_sheet(Line(root / "data" / recipe), wish, folder, context)


def export(sheet: "Sheet", rater: str, file: Path) -> None:
    """Write the blind sheet of a rater."""
    from components.judging.table import write_table

    rows = write_table(sheet, rater, file)
    print(f"{file}: {rows} pairs for {rater}; write 1, 2, or 0 for a tie into the last column")
    print(f"  → then: tuneline judge … --rater {rater!r} --import {file}")


def import_(sheet: "Sheet", rater: str, file: Path) -> None:
    """Take the choices of a filled-in sheet, all or none."""
    from components.judging.table import read_table

    found = read_table(sheet, rater, file)
    sheet.add(found.ratings)
    print(f"{file}: {found.words()}", file=sys.stderr)


def serve(sheet: "Sheet", rater: str, *, port: int, browser: bool) -> None:
    """Serve the page until Ctrl-C (or SIGTERM)."""
    from components.judging.server import serving
    from components.judging.session import Session
    from flows.ui import stopped_by_signals

    session = Session(sheet, rater)
    sheet.write_result()
    with stopped_by_signals(), serving(session, port) as server:
        console = Console(stderr=True)
        state = session.state()
        console.print(f"{state['done']} of {state['total']} judged by {rater}", highlight=False)
        console.print(f"page     {server.address}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C stops; what was judged is kept, and the same command goes on")
        if browser:
            webbrowser.open(server.address)
        try:
            while True:
                time.sleep(0.5)
        except KeyboardInterrupt:
            console.print("\nstopped")


def finish(root: Path, recipe: str, sheet: "Sheet", *, as_json: bool, logs: bool) -> None:
    """Tell what came of it so far, and enter it into the MLflow run that made the answers."""
    found = sheet.write_result()
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True))
        return
    for line in told(found):
        print(line)
    if not (logs and found["ratings"]):
        return
    from flows.judge_tracking import log_judged

    print(log_judged(root, recipe, sheet.folder, found))
    print(f"  → git add data/judged/{recipe} && git commit keeps it (it holds texts of the data)")
    print(f"  → tuneline run {recipe} puts it into the report")


def told(found: dict[str, Any]) -> list[str]:
    """Return the result as lines for people."""
    lines = [
        f"{found['same']} of {found['items']} items got the same answer from both and are left out"
    ]
    if not found["ratings"]:
        return [*lines, "nothing has been judged yet"]
    lines.append(found["overall"]["words"])
    if len(found["raters"]) > 1:
        lines += [f"  {name}: {one['words']}" for name, one in found["raters"].items()]
    if found["agreement"]:
        lines.append(found["agreement"]["words"])
    first = found["first_shown"]
    lines.append(
        f"the answer shown first was chosen {first['chosen']} of {first['of']} times "
        f"(p = {first['p']:.1g})"
    )
    if found["other"]:
        lines.append(f"{found['other']} ratings of pairs that are not on this sheet do not count")
    return lines
