"""More rows for a recipe: a file that DVC keeps, named in the recipe, checked by its validation."""

import filecmp
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.contracts.errors import DataError, RecipeError, SourceError
from components.contracts.kinds import Dataset
from components.sources.many import is_row_file
from components.sources.readers import one_format
from components.sources.settings import FileRows
from flows.child import LAST_LINES, Tell, run_lines
from flows.data_accept import accept
from flows.environment import prepare
from flows.kept import Keeper, keep, kept_by
from flows.recipe import load_recipe, recipe_file
from flows.record import read_record
from flows.source_path import path_with, with_path

STAGES = ("ingest", "validate")


@dataclass(frozen=True)
class Added:
    """What `add` did. `file` and `path` are as the project names them, `path` is what is read now.

    `tracked` says who keeps the file's versions: git, where it was committed before DVC came to
    it. `accepted` says that the data set that was there went into data/accepted/ first.
    """

    file: str
    path: str
    changed: bool
    accepted: bool
    tracked: Keeper

    def told(self, recipe: str) -> Iterator[str]:
        """Yield what was done, in words."""
        if self.accepted:
            yield f"the data so far is remembered in data/accepted/{recipe}"
        elif self.changed:
            yield "no earlier data set lies here to remember (in a new clone: `dvc pull` first)"
        yield f"{self.file}: {'added' if self.changed else 'there already, nothing to do'}"
        yield f"recipes/{recipe}.yaml reads {self.path}"

    def left(self, recipe: str) -> Iterator[str]:
        """Yield what stays although the rows are not fit, and how to take it back."""
        if self.changed:
            note = f" {self.file}.dvc" if self.tracked == "dvc" else ""
            yield f"{self.file} is added, but the rows are not fit to train on as they are."
            yield (
                f"Mend the file and run this again with --replace, or take it back: rm {self.file}"
                f"{note}, and `path` in recipes/{recipe}.yaml as it was"
            )


def add(root: Path, recipe: str, file: Path, *, replace: bool = False) -> Added:
    """Put `file` among the inputs of a recipe, for DVC to keep and the recipe to read.

    What was made so far is accepted first: its test rows stay guarded and drift is measured from
    it. Nothing changes if the same file is there, kept and read already. Raises `TunelineError`
    with everything as it was, except that accepted data stays accepted; the recipe is edited last.
    """
    prepare(root)
    source = _file_source(root, recipe)
    place = f"data/inputs/{recipe}/{file.name}"
    _check(file, root / place, source, replace)
    path = path_with(root, recipe, source, file.name)
    tracked = kept_by(root, place)
    same = _same(file, root / place)
    if same and tracked and path == source.path and _up_to_date(root / place, tracked):
        return Added(place, path, changed=False, accepted=False, tracked=tracked)
    sheet = recipe_file(root, recipe)
    text = with_path(sheet.read_bytes().decode("utf-8"), path, f"recipes/{sheet.name}")
    accepted = (root / "data" / recipe / "dataset").exists()
    if accepted:
        accept(root, recipe)
    with _placed(file, root / place, copy=not same):
        keeper = keep(root, place)
        beside = sheet.with_name(f".{sheet.name}.tmp")
        beside.write_bytes(text.encode("utf-8"))
        beside.replace(sheet)
    return Added(place, path, changed=True, accepted=accepted, tracked=keeper)


def validate_now(root: Path, recipe: str, tell: Tell = print) -> Dataset:
    """Ingest and validate a recipe's rows through DVC, its lines told as they come.

    Raises `DataError` with the stage's own message where one left it.
    """
    prepare(root)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", f"validate@{recipe}"]
    ended = run_lines(command, root, dict(os.environ), None, tell)
    if ended.code != 0:
        raise DataError(_told(root, recipe, ended.lines) or "\n".join(ended.lines[-LAST_LINES:]))
    return Dataset.open(root / "data" / recipe / "dataset")


def _told(root: Path, recipe: str, lines: Sequence[str]) -> str:
    """Return the fault of the stage that failed; one of an earlier run is none of this one's."""
    record = read_record(root, recipe)
    faults = record.faults if record else {}
    told = [f"{name}: {faults[name].message}" for name in STAGES if name in faults]
    return "\n".join(one for one in told if one.splitlines()[0] in lines)


def _file_source(root: Path, recipe: str) -> FileRows:
    source = load_recipe(root, recipe).source
    if isinstance(source, FileRows):
        return source
    raise RecipeError(
        f"recipes/{recipe}.yaml: source.kind is '{source.kind}': its rows are not files here that "
        "another one could be put beside",
        fix="to read local files instead write source: {kind: file, path: "
        f"data/inputs/{recipe}/FILE, license: …}}, put the rows of '{source.kind}' there too if "
        "they are to stay (`tuneline data add` takes more than one file, one after the other)",
    )


def _check(file: Path, place: Path, source: FileRows, replace: bool) -> None:
    """Raise an error unless `file` can be read as rows and may lie at `place`."""
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "does not exist"
        raise SourceError(f"{file} {found}", fix="name one file of rows")
    if not is_row_file(file.name):
        raise SourceError(
            f"{file.name} would not be read: it is hidden or a note of DVC's",
            fix="give the file another name",
        )
    one_format([file.name], source.read, str(file))
    if place.exists() and not _same(file, place) and not replace:
        raise SourceError(
            f"{_below(place)} is there already and holds something else",
            fix="give the new file another name to keep both, or use --replace",
        )


def _below(place: Path) -> str:
    return "/".join(place.parts[-4:])


def _same(file: Path, place: Path) -> bool:
    return place.is_file() and filecmp.cmp(file, place, shallow=False)


def _up_to_date(place: Path, tracked: Keeper) -> bool:
    """Say whether the file is kept as it is now: a note of DVC's may be of an older content."""
    if tracked != "dvc":
        return True
    note = yaml.safe_load(place.with_name(f"{place.name}.dvc").read_text(encoding="utf-8"))
    with place.open("rb") as stream:
        return bool(note["outs"][0].get("md5") == hashlib.file_digest(stream, "md5").hexdigest())


@contextmanager
def _placed(file: Path, place: Path, *, copy: bool) -> Iterator[None]:
    """Put a copy of `file` at `place`; if the block fails, all there is as it was before."""
    note = place.with_name(f"{place.name}.dvc")
    notes = {n: _bytes(n) for n in (note, place.with_name(".gitignore"))}
    kept = place.with_name(f".{place.name}.before")
    kept.unlink(missing_ok=True)
    if copy:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.tmp")
        shutil.copyfile(file, beside)
        if place.exists():
            place.rename(kept)
        beside.rename(place)
    try:
        yield
    except BaseException:
        if copy:
            place.unlink()
        if kept.exists():
            kept.rename(place)
        for one, content in notes.items():
            _put_back(one, content)
        raise
    kept.unlink(missing_ok=True)


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _put_back(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)
