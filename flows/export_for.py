"""`tuneline export-for`: an export in the layout of a reader that has one of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.contracts.artefacts import MANIFEST
from components.contracts.errors import ArtefactError, ModelError, choose
from flows.environment import find_root
from flows.recipe import recipe_file

Layout = Callable[[Path, Path], list[str]]
"""Lays an export out as another folder; returns what to tell."""

AS_IT_IS = ("onnxruntime", "onnxruntime-genai", "optimum")
"""Readers of the export's own folders."""


def command(
    reader: Annotated[str, typer.Argument(metavar="READER", help="transformers.js")],
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is not there yet.")],
) -> None:
    """Lay RECIPE's exported files out as READER looks for them."""
    root = find_root(Path.cwd())
    recipe_file(root, recipe)
    export = root / "data" / recipe / "onnx"
    lay_out = layout_of(reader, export)
    if not (export / MANIFEST).is_file():
        raise ArtefactError(
            f"nothing of recipe '{recipe}' has been exported here", fix=f"tuneline run {recipe}"
        )
    for line in lay_out(export, out.absolute()):
        Console().print(line, highlight=False, soft_wrap=True)


def layout_of(reader: str, folder: Path) -> Layout:
    """Return what lays an export out for a reader; raise `ModelError` where nothing needs to."""
    if reader in AS_IT_IS:
        raise ModelError(
            f"{reader} reads the export as it is",
            fix=f"give it a variant's folder, such as {folder / 'int8'}",
        )
    return choose("reader", reader, LAYOUTS, ModelError)


def for_transformers_js(folder: Path, out: Path) -> list[str]:
    """Write `out` for transformers.js; return what to tell."""
    from components.contracts.kinds import Onnx
    from components.export.javascript import write_view

    view = write_view(Onnx.open(folder), out)
    types = ", ".join(f"{dtype} ({name})" for name, dtype in view.variants.items())
    told = [f"{view.folder}", f"  dtype: {types}"]
    if view.left_out:
        told.append(f"  left out, as transformers.js has no such type: {', '.join(view.left_out)}")
    return told


LAYOUTS: dict[str, Layout] = {"transformers.js": for_transformers_js}
