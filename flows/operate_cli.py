"""The commands that keep the line running: up, down, deploy, status, gc."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.environment import find_root, prepare

if TYPE_CHECKING:
    from flows.collect import Collected

SHOWN = 20
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def here() -> Path:
    """Return the project's root, with its stores and running servers made known."""
    root = find_root(Path.cwd())
    prepare(root)
    return root


def up(
    gpu_slots: Annotated[
        int | None,
        typer.Option(min=1, help="How many stages may use a GPU at once; default: one a GPU."),
    ] = None,
) -> None:
    """Start Prefect server, worker and MLflow server; what runs already is left alone."""
    from flows.up import up as start

    root = here()
    start(root, print, gpu_slots)
    print(f"logs in {root / '.tuneline' / 'logs'}; stop all: tuneline down")


def down() -> None:
    """Stop what `tuneline up` has started, with all that it started itself."""
    from flows.down import down as stop

    told = stop(here())
    print("\n".join(told) if told else "nothing was up")


def deploy() -> None:
    """Create or update every deployment of prefect.yaml on the running server."""
    from flows.deploy import deploy as put

    deployed, others = put(here())
    for one in deployed:
        print(one.told())
    for name in others:
        print(f"{name} is on the server, but not in prefect.yaml: `prefect deployment delete` it")


def status(as_json: AsJson = False) -> None:
    """Show servers, worker, last and next runs, disk. Exit status 1: something should run."""
    from flows.status import gather_status
    from flows.status import told as lines

    facts = gather_status(here())
    print(facts.model_dump_json(indent=2) if as_json else "\n".join(lines(facts)))
    if facts.faults:
        raise typer.Exit(1)


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List with sizes what would go; delete nothing.")
    ] = False,
    keep_runs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of each recipe that keep all files (params.yaml)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take away what no registered version, recipe on the line or recent run needs."""
    from flows.collect import collect

    found = collect(here(), keep_runs=keep_runs, dry_run=dry_run, say=_aside)
    if as_json:
        print(json.dumps(_as_json(found), indent=2))
        return
    for one in found.runs:
        print(f"{one.bytes / 1e6:>10.2f} MB  {one.kind} {one.id} of {one.recipe}")
    for waste in found.cache[:SHOWN]:
        print(f"{waste.bytes / 1e6:>10.2f} MB  cache {waste.name}")
    if len(found.cache) > SHOWN:
        print(f"{'':>14}  and {len(found.cache) - SHOWN} smaller objects of the cache")
    count = len(found.cache) + len(found.runs)
    would = "would go" if dry_run else "deleted"
    print(f"{found.total / 1e6:.2f} MB in {count} places {would}")


def _as_json(found: "Collected") -> dict[str, Any]:
    return {
        "runs": [asdict(one) for one in found.runs],
        "cache": [{"name": one.name, "bytes": one.bytes} for one in found.cache],
        "bytes": found.total,
    }


def _aside(line: str) -> None:
    print(line, file=sys.stderr)
