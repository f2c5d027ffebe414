"""Files of rows that land in data/incoming/RECIPE/: taken whole, added, or refused with a reason.

A file counts as whole when it has not changed for `retrain.settle_s` seconds and has no name of one
that is still being written. Who copies to a hidden name (`.rows.jsonl`) and renames is on the safe
side however slow the copy is. A bucket named by `retrain.watch` is fetched here first.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.artefacts import sha256
from components.contracts.errors import DataError, RecipeError, SourceError, TunelineError
from components.sources.many import is_row_file
from flows.child import Tell
from flows.data_add import Added, add, validate_now
from flows.recipe import Recipe, recipe_file
from flows.unfit import unfit

REFUSED = "refused"
PARTIAL = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".swp")
"""Endings of files that are still being written by some program."""


@dataclass(frozen=True)
class Undo:
    """A recipe and the small files among its inputs as they were before files were added."""

    root: Path
    recipe: str
    sheet: bytes
    notes: dict[str, bytes]
    there: frozenset[str]

    @classmethod
    def of(cls, root: Path, recipe: str) -> "Undo":
        folder = root / "data" / "inputs" / recipe
        names = _names(folder)
        notes = {name: (folder / name).read_bytes() for name in names if _is_note(name)}
        return cls(root, recipe, recipe_file(root, recipe).read_bytes(), notes, frozenset(names))

    def __call__(self) -> None:
        """Take out what came since: files with DVC's notes, and the recipe's edit."""
        folder = self.root / "data" / "inputs" / self.recipe
        for name in _names(folder) - self.there:
            (folder / name).unlink()
        for name, content in self.notes.items():
            (folder / name).write_bytes(content)
        recipe_file(self.root, self.recipe).write_bytes(self.sheet)


def incoming_folder(root: Path, recipe: str) -> Path:
    return root / "data" / "incoming" / recipe


def take_incoming(root: Path, recipe: str, settings: Recipe, tell: Tell) -> list[Added]:
    """Add every whole file that has come to the recipe's inputs; return what was added.

    Rows that are not fit leave nothing behind: their file goes to data/incoming/RECIPE/refused/
    with a note that says why, and the line is as it was. Nothing is done where nothing has come.
    """
    if settings.retrain.watch is not None:
        from flows.incoming_remote import fetch_new

        fetch_new(root, recipe, settings.retrain.watch, tell)
    files = settled(incoming_folder(root, recipe), settings.retrain.settle_s)
    if not files:
        return []
    taken = _together(root, recipe, files, tell)
    if taken is None:  # one is not fit: find out which
        apart = [_together(root, recipe, [file], tell) or [] for file in files if file.exists()]
        taken = [added for one in apart for added in one]
    return taken


def settled(folder: Path, seconds: float) -> list[Path]:
    """Return the files that are whole, in order of their names."""
    if not folder.is_dir():
        return []
    latest = time.time() - seconds
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and is_row_file(file.name)
        and not file.name.endswith(PARTIAL)
        and file.stat().st_mtime <= latest
    ]


def _together(root: Path, recipe: str, files: Sequence[Path], tell: Tell) -> list[Added] | None:
    """Add files and validate once. None, and all as it was, if they are not fit together.

    A single one that is not fit is refused, and so is one that cannot be read at all. Raises what
    says nothing of the rows; the files are still there for the next time then.
    """
    undo, added, sources = Undo.of(root, recipe), [], []
    for file in files:
        try:
            file = _own_name(root, recipe, file)
            added.append(add(root, recipe, file))
            sources.append(file)
        except (DataError, RecipeError, SourceError) as error:
            _refuse(file, str(error), tell)
    if not added:
        return []
    try:
        validate_now(root, recipe, tell)
    except TunelineError as error:
        undo()
        if not unfit(root, recipe, error):
            raise
        validate_now(root, recipe, tell)
        if len(sources) > 1:
            return None
        _refuse(sources[0], str(error), tell)
        return []
    for file, one in zip(sources, added, strict=True):
        file.unlink()
        tell(f"{one.file}: taken from {file.parent.name}/{file.name}")
    return added


def _own_name(root: Path, recipe: str, file: Path) -> Path:
    """Return the file under a name that no other content has among the recipe's inputs."""
    place = root / "data" / "inputs" / recipe / file.name
    if not place.exists() or sha256(place) == sha256(file):
        return file
    stem, dot, ending = file.name.partition(".")
    renamed = file.with_name(f"{stem}-{sha256(file)[:8]}{dot}{ending}")
    file.rename(renamed)
    return renamed


def _refuse(file: Path, why: str, tell: Tell) -> None:
    """Put a file aside with a note that says why."""
    folder = file.parent / REFUSED
    folder.mkdir(exist_ok=True)
    place = folder / file.name
    if place.exists():
        place = folder / f"{sha256(file)[:8]}-{file.name}"
    shutil.move(file, place)
    place.with_name(f"{place.name}.why.txt").write_text(why + "\n", encoding="utf-8")
    tell(f"{file.name} was refused (it lies in {folder.name}/ now): {why}")


def _is_note(name: str) -> bool:
    return name.endswith((".dvc", ".gitignore"))


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
