"""The commands on the registry: promote, rollback, lineage, reproduce."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.environment import find_root, prepare

if TYPE_CHECKING:
    from flows.registry_promote import Done

Version = Annotated[
    str, typer.Argument(metavar="MODEL@VERSION", help="A version, or an alias: sentiment@champion.")
]
Note = Annotated[str, typer.Option("--note", help="Why: stands in the journal of the model.")]
SkipProbes = Annotated[
    bool, typer.Option("--skip-probes", help="Check the bytes alone, not the answers.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def here() -> Path:
    """Return the project's root, with its stores made known."""
    root = find_root(Path.cwd())
    prepare(root)
    return root


def promote(version: Version, note: Note = "", skip_probes: SkipProbes = False) -> None:
    """Make MODEL@VERSION champion: checked, and only if nobody else was faster."""
    here()
    from flows.registry_promote import promote as move

    done = move(version, note=note, answers=not skip_probes)
    if done.move is None:
        print(f"version {done.version} is champion of {done.name} already")
        return
    print(f"{done.name}: champion was version {done.before or 'none'}, is version {done.version}")
    tell_checked(done)
    print(f"  back again: tuneline rollback {done.name}")


def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name in the registry.")],
    drill: Annotated[
        bool, typer.Option("--drill", help="Do everything but move the champion.")
    ] = False,
    note: Note = "",
    skip_probes: SkipProbes = False,
) -> None:
    """Make the champion before this one champion again; --drill only shows that it would work."""
    here()
    from flows.registry_promote import rollback as move

    done = move(model.partition("@")[0], drill=drill, note=note, answers=not skip_probes)
    if drill:
        print(f"{done.name}: a rollback would go from version {done.before} to {done.version}")
        tell_checked(done)
        print(f"  it took {done.seconds:.1f} s; version {done.before} is champion as before")
        return
    print(f"{done.name}: champion was version {done.before}, is version {done.version} again")
    tell_checked(done)


def tell_checked(done: "Done") -> None:
    if done.shown is not None:
        count = len(done.shown.answers)
        answers = f", {count} probe prompts answered as when registered" if count else ""
        print(f"  checked: sha256 {done.shown.sha256[:16]}… as registered{answers}")


def lineage(version: Version, as_json: AsJson = False) -> None:
    """Show what MODEL@VERSION was made of: commit, data, base, environment, verdict, forebears."""
    here()
    from flows.registry_lineage import lineage as gather
    from flows.registry_lineage import told
    from flows.registry_ref import find

    found = gather(find(version))
    if as_json:
        print(found.model_dump_json(indent=2))
        return
    for line in told(found):
        print(line)


def reproduce(
    version: Version,
    until: Annotated[
        str, typer.Option(metavar="STAGE", help="The last stage to build again.")
    ] = "export",
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the clone where it was built.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build MODEL@VERSION again from its commit, in a clone, and compare the hashes."""
    root = here()
    from flows.registry_lineage import lineage as gather
    from flows.registry_ref import find
    from flows.registry_reproduce import reproduce as rebuild

    made = gather(find(version))
    Console(stderr=True).print(
        f"building {made.model}@{made.version} again from commit {(made.git_commit or '?')[:12]}, "
        f"up to {until}: this takes as long as it took then",
        highlight=False,
        soft_wrap=True,
    )
    found = rebuild(root, made, until=until)
    if as_json:
        value = {**asdict(found), "folder": str(found.folder), "same": found.same}
        print(json.dumps(value, indent=2))
    else:
        for line in found.lines():
            print(line)
    if keep:
        print(f"built in {found.folder}", file=sys.stderr)
    else:
        shutil.rmtree(found.folder, ignore_errors=True)
    if not found.same:
        sys.exit(1)
