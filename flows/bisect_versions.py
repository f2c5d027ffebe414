"""The versions of a recipe's rows between two git revisions, and how one is brought to a folder."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import ArtefactError, RecipeError
from flows.data_diff import UnknownRevisionError, remotes_now
from flows.environment import state_folder

SECTIONS = ("source", "format", "validation")
"""What a recipe says of its rows: where they are from, how they are read, which of them stay."""

NO_ROWS = (".gitignore", ".gitkeep")
FIELDS = "%cs%x09%s"


@dataclass(frozen=True)
class DataVersion:
    """Rows as a commit left them. `key` hashes the recipe's three sections about rows and the
    inputs (git's hash of each file, or of DVC's note of it): equal keys mean equal rows.
    """

    commit: str
    date: str
    subject: str
    key: str
    sections: Mapping[str, Any]

    @property
    def short(self) -> str:
        return self.commit[:8]

    def told(self) -> str:
        return f"{self.short} {self.date} {self.subject}"


def versions_between(root: Path, recipe: str, good: str, bad: str) -> list[DataVersion]:
    """Return the versions of a recipe's rows from `good` to `bad`, oldest first, both included.

    Of commits that left the rows as they were only the first counts; of a merge, the merge (the
    first parents are followed). Inputs elsewhere (`url`, `hub`, `package`) are as the recipe names
    them.

    Raises:
        UnknownRevisionError: git knows no such revision.
        RecipeError: `good` is no forebear of `bad`, or the rows are the same at both.
    """
    first, last = _commit(root, good), _commit(root, bad)
    _need_forebear(root, (good, first), (bad, last))
    ways = ("--reverse", "--first-parent", "--ancestry-path")
    path = _git(root, "rev-list", *ways, f"{first}..{last}").split()
    found = [_version(root, recipe, first)]
    for commit in path:
        version = _version(root, recipe, commit)
        if version.key != found[-1].key:
            found.append(version)
    if len(found) < 2:
        raise RecipeError(
            f"the rows of '{recipe}' are the same at {good} and {bad}: inputs and the recipe's "
            f"{', '.join(SECTIONS)} have not changed",
            fix=f"look for the cause elsewhere (`tuneline compare {recipe}@{good} "
            f"{recipe}@{bad}`); `tuneline data log {recipe}` lists the versions of the data",
        )
    return found


def _need_forebear(root: Path, good: tuple[str, str], bad: tuple[str, str]) -> None:
    told = subprocess.run(
        ["git", "-C", str(root), "merge-base", "--is-ancestor", good[1], bad[1]], check=False
    )
    if told.returncode:
        raise RecipeError(
            f"{good[0]} ({good[1][:8]}) is no forebear of {bad[0]} ({bad[1][:8]}): there is no row "
            "of versions from one to the other",
            fix="name a good revision that the bad one descends from; were they exchanged?",
        )


def _version(root: Path, recipe: str, commit: str) -> DataVersion:
    told = _git(root, "show", "-s", f"--format={FIELDS}", commit).rstrip("\n")
    date, subject = told.split("\t", 1)
    sections = sections_at(root, recipe, commit)
    listed = _git(root, "ls-tree", "-r", commit, "--", f"./data/inputs/{recipe}").splitlines()
    inputs = sorted(line for line in listed if Path(line.partition("\t")[2]).name not in NO_ROWS)
    text = json.dumps([sections, inputs], sort_keys=True, default=str)
    return DataVersion(commit, date, subject, hashlib.sha256(text.encode()).hexdigest(), sections)


def sections_at(root: Path, recipe: str, commit: str) -> dict[str, Any]:
    """Return the sections about rows of a recipe as a commit has it.

    Raises `RecipeError` if the commit has no such recipe, or one that cannot be read.
    """
    place = f"recipes/{recipe}.yaml"
    try:
        text = _git(root, "show", f"{commit}:./{place}")
        found = yaml.safe_load(text)
        return {name: found[name] for name in SECTIONS}
    except (ArtefactError, yaml.YAMLError, KeyError, TypeError) as error:
        raise RecipeError(
            f"commit {commit[:8]} has no {place} that could be read: {error}",
            fix="choose --good and --bad among the commits that have the recipe: "
            f"git log --oneline -- {place}",
        ) from error


def _commit(root: Path, revision: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    except ArtefactError as error:
        raise UnknownRevisionError(
            f"git knows no revision '{revision}'",
            fix="name a commit, tag or branch; git log --oneline lists commits",
        ) from error


def bring(root: Path, recipe: str, version: DataVersion, folder: Path) -> Path:
    """Lay the inputs of a version into `folder`/data/inputs/RECIPE; return `folder`.

    Files come out of git, or out of DVC's cache or remote. A folder that is there is whole, and
    kept. Raises `ArtefactError` if a file is not to be had.
    """
    if folder.is_dir():
        return folder
    beside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    place = f"data/inputs/{recipe}"
    (beside / place).mkdir(parents=True)
    copy_at(root, recipe, version.commit, place, beside)
    beside.rename(folder)
    return folder


def copy_at(root: Path, recipe: str, commit: str, place: str, target: Path) -> None:
    """Copy the files below `place` as a commit has them (DVC's among them) to `target`/`place`."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        with closing(DVCFileSystem(str(root), rev=commit, config=remotes_now(root))) as fs:
            for name in fs.find(place) if fs.exists(place) else ():
                file = target / name.lstrip("/")
                if file.name in NO_ROWS or file.suffix == ".dvc":
                    continue
                file.parent.mkdir(parents=True, exist_ok=True)
                fs.get_file(name, str(file))
    except (DvcException, DataIndexDirError, OSError) as error:
        raise ArtefactError(
            f"the inputs of '{recipe}' at {commit[:8]} are neither in the cache nor on a remote: "
            f"{error}",
            fix="bring them with `dvc fetch --all-commits`, from a remote that somebody has pushed "
            "them to",
        ) from error


def bisect_folder(root: Path, recipe: str) -> Path:
    """Return the folder that holds everything of a recipe's bisects, none of it the project's."""
    return state_folder(root) / "bisect" / recipe


def _git(root: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArtefactError(f"git {words[0]}: {done.stderr.strip() or 'nothing found'}")
    return done.stdout
