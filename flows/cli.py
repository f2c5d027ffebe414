"""The `tuneline` command."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from components.contracts.errors import ArtefactError, RecipeError, TunelineError, choose
from flows.batch_predict import batch_predict
from flows.bisect_cli import command as bisect
from flows.canary_start import command as canary
from flows.compare import command as compare
from flows.data_cli import data
from flows.doctor import doctor
from flows.dvc_state import heal
from flows.early_server import begin_server
from flows.environment import find_root, prepare
from flows.export_for import command as export_for
from flows.graph import changed_stages, read_graph
from flows.judge import command as judge
from flows.leaving import leave_after
from flows.operate_cli import deploy, down, gc, status, up
from flows.plan import command as plan
from flows.quantize import command as quantize
from flows.recipe import add_to_line, load_recipe, parse_recipe, recipe_file
from flows.record import read_record, told_faults
from flows.registry_cli import lineage, promote, reproduce, rollback
from flows.report_page import command as report
from flows.retrain_cli import retrain
from flows.serve import serve
from flows.show import show
from flows.summary import gather
from flows.sweep_cli import command as sweep
from flows.talk import chat, generate
from flows.verify_resume import command as verify_resume

app = typer.Typer(
    help="Validate, fine-tune, prove, export and register small language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
app.command("plan")(plan)
app.command("quantize")(quantize)
app.command("report")(report)
app.command("compare")(compare)
app.command("generate")(generate)
app.command("chat")(chat)
app.command("batch-predict")(batch_predict)
app.command("serve")(serve)
app.command("doctor")(doctor)
app.command("verify-resume")(verify_resume)
app.command("judge")(judge)
app.command("bisect")(bisect)
app.command("canary")(canary)
app.command("sweep")(sweep)
app.command("retrain")(retrain)
app.command("export-for")(export_for)
for of_registry in (promote, rollback, lineage, reproduce):
    app.command()(of_registry)
for of_servers in (up, down, deploy, status, gc):
    app.command()(of_servers)
Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")]


def main() -> NoReturn:
    """Run the command; what the user can mend is told without a traceback."""
    leave_after(command)


def command() -> int:
    """Run the command; return the exit code."""
    try:
        app()
    except TunelineError as error:
        tell(error)
        return error.exit_code
    except SystemExit as ended:  # how typer ends
        if ended.code:
            raise
    return 0


@app.command()
def run(
    recipe: Name,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Run this stage even if nothing changed (repeatable)."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Put the recipe on the line first.")] = False,
) -> None:
    """Bring every stage of RECIPE up to date: a Prefect flow, an MLflow run."""
    root = find_root(Path.cwd())
    prepare(root)
    if add:
        parse_recipe(recipe_file(root, recipe))
        add_to_line(root, recipe)
    load_recipe(root, recipe)
    console = Console()
    for healed in heal(root):
        console.print(f"  {healed}", style="yellow", soft_wrap=True)
    forced = known_stages(root, recipe, force or [])
    changed = changed_stages(root, recipe)
    if not changed and not forced and not was_cut_off(root, recipe):
        console.print(f"{recipe}: nothing has changed, nothing to do\n")
        close_left_open(root, recipe)
        show(gather(root, recipe), console, details=False)
        return
    told = ", ".join(dict.fromkeys([*changed, *forced])) or "closing the run that was cut off"
    console.print(f"{recipe}: to do: {told}", highlight=False)
    from flows.data_accept import to_accept_first

    if first := to_accept_first(root, recipe, changed):
        console.print(f"  {first}", style="yellow", soft_wrap=True)
    if not run_flow(root, recipe, forced, console):
        sys.exit(1)
    console.print()
    show(gather(root, recipe), console, details=False)


@app.command(name="show")
def show_recipe(
    recipe: Name,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as docs/show.schema.json describes it.")
    ] = False,
) -> None:
    """Show what is known of RECIPE's last run: ids, hashes, metrics, verdict, version."""
    root = find_root(Path.cwd())
    recipe_file(root, recipe)
    facts = gather(root, recipe)
    if as_json:
        print(facts.model_dump_json(indent=2))
        return
    if facts.run is None and not facts.artefacts and facts.retrain is None:
        raise ArtefactError(
            f"nothing has been made from recipe '{recipe}' here", fix=f"tuneline run {recipe}"
        )
    show(facts, Console(), details=True)


@app.command()
def ui(
    browser: Annotated[bool, typer.Option(help="Open both pages in the browser.")] = True,
) -> None:
    """Open the MLflow UI and the Prefect UI on this project; Ctrl-C stops both."""
    from flows.ui import serve as serve_pages

    root = find_root(Path.cwd())
    prepare(root)
    serve_pages(root, Console(), browser=browser)


def known_stages(root: Path, recipe: str, names: list[str]) -> list[str]:
    """Return `names` if the graph has them all, else raise `RecipeError`."""
    stages = {stage.name: stage.name for stage in read_graph(root, recipe)} if names else {}
    return [choose("stage", name, stages, RecipeError) for name in names]


def was_cut_off(root: Path, recipe: str) -> bool:
    """Say whether a flow on this recipe has not come to its end: only a flow can close its run."""
    record = read_record(root, recipe)
    return bool(record and record.door == "prefect" and record.status == "running")


def close_left_open(root: Path, recipe: str) -> None:
    """Close the run of a `dvc repro` whose last stage had nothing to do, so that never ended it."""
    record = read_record(root, recipe)
    if record and record.door == "dvc" and record.status != "finished":
        from flows.tracking import close_dvc_run

        close_dvc_run(root, recipe)


def run_flow(root: Path, recipe: str, force: list[str], console: Console) -> bool:
    """Run the flow in this process; on failure the last words are the failed stage's own."""
    quiet_prefect()
    if "PREFECT_API_URL" not in os.environ:
        console.print("  starting Prefect (without a running server this takes some seconds)")
    os.chdir(root)
    begun = begin_server()
    from flows.finetune import finetune
    from flows.ready import get_ready
    from flows.terminal import Terminal

    with Terminal(console):
        get_ready(begun)
        state = finetune(recipe, force, return_state=True)
    if state.is_completed():
        return True
    told = told_faults(root, recipe) or str(state.message)
    Console(stderr=True).print(Text(f"\n{told}", style="red"), soft_wrap=True)
    return False


def quiet_prefect() -> None:
    """Keep Prefect's own lines off the terminal: they go to its UI, `Terminal` shows the rest."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def tell(error: TunelineError) -> None:
    """Print an error for people."""
    Console(stderr=True).print(Text(f"error: {error}", style="red"), soft_wrap=True)


if __name__ == "__main__":
    main()
