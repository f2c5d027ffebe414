"""`tuneline canary`: the command, and which interpreter it takes for the newest packages."""

import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated

import typer

from flows.canary_environment import CanaryError, Tell, newest
from flows.environment import find_root, prepare, state_folder


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A small recipe.")] = "tiny",
    newest_: Annotated[
        bool, typer.Option("--newest", help="The newest that pyproject.toml allows (default).")
    ] = False,
    constraint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A pip constraints file that limits them."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="An interpreter to check, instead of making one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train RECIPE with the locked and the newest packages; say which bump breaks what."""
    root = find_root(Path.cwd())
    prepare(root)
    if newest_ and constraint is not None:
        raise CanaryError("--newest and --constraint say two things", fix="give one of them")
    from flows.canary_run import canary, told

    def tell(text: str) -> None:
        print(f"  · {text}", file=sys.stderr, flush=True)

    found = canary(root, recipe, interpreter(root, python, constraint, tell), tell=tell)
    print(found.model_dump_json(indent=2) if as_json else "\n".join(told(found)))
    if not found.sound:
        sys.exit(1)


def interpreter(root: Path, python: str | None, constraint: Path | None, tell: Tell) -> str:
    """Return the interpreter that is named, or that of a new environment.

    Raises `CanaryError` or `UnreachableError` if there is none to be had.
    """
    if python is not None:
        if not Path(python).is_file():
            raise CanaryError(
                f"there is no interpreter {python}", fix="name one: /path/to/venv/bin/python"
            )
        return str(Path(python).absolute())
    if constraint is not None and not constraint.is_file():
        raise CanaryError(f"there is no constraints file {constraint}", fix="mend the path")
    here = {str(one.metadata["Name"]).lower() for one in distributions()}
    extra = "gpu" if "onnxruntime-gpu" in here else "cpu"
    return newest(root, state_folder(root) / "canary" / "newest", extra, constraint, tell)
