"""Local files and folders: only under `data/inputs/`, where DVC sees every change."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.errors import SourceError, did_you_mean
from components.contracts.events import Context
from components.sources.many import (
    NOTE,
    fixed_part,
    identity,
    is_pattern,
    is_row_file,
    read_all,
)
from components.sources.model_folder import copy_model
from components.sources.origin import Origin, RowFile
from components.sources.settings import FileModel, FileRows

INPUTS = Path("data") / "inputs"


@contextmanager
def open_rows(settings: FileRows, context: Context) -> Iterator[Origin]:
    """Give the rows of a local file, of a folder or of the files that fit a pattern."""
    files = find_files(settings.path, context.root)
    name = files[0].name if files[0].path.name == Path(settings.path).name else settings.path
    facts = {"kind": "file", "name": settings.path, **identity(files)}
    rows = read_all(files, settings.read, settings.path)
    yield Origin(name, settings.license, facts, rows)


def bring_model(settings: FileModel, folder: Path, context: Context) -> None:
    """Copy a local model folder to `folder`."""
    copy_model(find(settings.path, context.root), folder, settings.path)


def find_files(path: str, root: Path) -> list[RowFile]:
    """Return the files of rows that `path` means, in order of their names below its folders.

    Raises `SourceError` when there is none, or when they lie where DVC does not look.
    """
    if not is_pattern(path):
        place = find(path, root)
        if place.is_file():
            return [RowFile(place.name, place)]
        folder, pattern = place, "**/*"
    else:
        folder = find(fixed_part(path), root)
        pattern = path[len(fixed_part(path)) :].lstrip("/")
    _need_brought(folder.glob(pattern + NOTE))
    found = folder.glob(pattern)
    names = {file.relative_to(folder).as_posix(): file for file in found if file.is_file()}
    files = [RowFile(name, names[name]) for name in sorted(names) if is_row_file(name)]
    if not files:
        raise SourceError(
            f"{path}: no file of rows is there",
            fix=f"put files there, or correct source.path; {_listed(folder)}",
        )
    return files


def find(path: str, root: Path) -> Path:
    """Return the file or folder that `path` means below `root`, or raise `SourceError`."""
    # Not resolve(): DVC may keep a tracked file as a link into its cache.
    inputs = Path(os.path.normpath((root / INPUTS).absolute()))
    place = Path(os.path.normpath((root / path).absolute()))
    if "://" in path:
        raise SourceError(
            f"{path} is a URL, but source.kind: file reads local files",
            fix="write source: {kind: url, url: …, sha256: …}",
        )
    if not place.is_relative_to(inputs):
        raise SourceError(
            f"{path} lies outside of {INPUTS}/: DVC would not see it change, so the line would "
            "go on with old results",
            fix=f"move it to {INPUTS}/RECIPE/ and name that path in the recipe",
        )
    _need_brought([place.with_name(f"{place.name}{NOTE}")])
    if not place.exists():
        there = sorted(f.relative_to(root.absolute()).as_posix() for f in _files(inputs))
        raise SourceError(
            f"{path} does not exist{did_you_mean(path, there)}",
            fix=_listed(inputs),
        )
    return place


def _need_brought(notes: Iterable[Path]) -> None:
    """Raise `SourceError` if what one of DVC's notes stands for is not here: rows would be lost."""
    for note in sorted(notes):
        file = note.with_suffix("")
        if note.is_file() and not file.exists():
            place = "/".join(note.parts[note.parts.index(INPUTS.name) - 1 :])
            raise SourceError(
                f"{file.name} is kept by DVC, but its content is not here", fix=f"dvc pull {place}"
            )


def _files(inputs: Path) -> list[Path]:
    return [file for file in inputs.rglob("*") if file.is_file() and file.name[0] != "."]


def _listed(folder: Path) -> str:
    names = sorted(file.relative_to(folder).as_posix() for file in _files(folder))
    return f"files in {folder.name}/: {', '.join(names[:10]) or 'none'}{' …' * (len(names) > 10)}"
