"""The versions that a recipe's data has had, as git and DVC remember them."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.contracts.artefacts import MANIFEST
from components.contracts.errors import ArtefactError
from flows.environment import prepare
from flows.recipe import recipe_file

LOCK = "dvc.lock"
SPLITS = ("train", "validation", "test")
NUMBERS = (*SPLITS, "left out")
FIELDS = "%H%x09%cs%x09%s"


class Version(BaseModel):
    """One version of the data set of `recipe`. `commit` is None for what is not committed yet.

    `rows` by split and `quarantined` are None where the manifest is not in the local cache;
    `cached` says that all the files are.
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    commit: str | None
    date: str | None
    subject: str | None
    dataset: str
    rows: dict[str, int] | None
    quarantined: int | None
    cached: bool


@dataclass(frozen=True)
class _Commit:
    id: str | None
    date: str | None
    subject: str | None


def log(root: Path, recipe: str) -> list[Version]:
    """Return the versions of a recipe's data set, newest first: each commit that changed it.

    The working copy comes first if its data set is not the one of the last commit. Raises
    `ArtefactError` if there is no git here, `RecipeError` if there is no such recipe.
    """
    prepare(root)
    recipe_file(root, recipe)
    out = f"data/{recipe}/dataset"
    changes: list[tuple[_Commit, str]] = []
    before: str | None = None
    for commit, lock in [*_committed(root), (_Commit(None, None, None), _text(root / LOCK))]:
        found = locked_hash(lock, out)
        if found and found != before:
            changes.append((commit, found))
        before = found
    return _versions(root, recipe, list(reversed(changes)))


def print_log(recipe: str, versions: list[Version], console: Console) -> None:
    """Print one line a version; a narrow terminal cuts the commit's subject, nothing else."""
    if not versions:
        console.print(
            f"{recipe}: no data set is in git's history yet: `tuneline run {recipe}` makes one, "
            "`git commit` keeps it",
            highlight=False,
        )
        return
    table = Table(title=recipe, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("commit", "date", *SPLITS, "left out", "here"):
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    table.add_column("subject", no_wrap=True, overflow="ellipsis")
    for one in versions:
        counts = [(one.rows or {}).get(split) for split in SPLITS]
        table.add_row(
            one.commit[:8] if one.commit else "–",
            one.date or "–",
            *("–" if count is None else f"{count:,}" for count in (*counts, one.quarantined)),
            "yes" if one.cached else "no",
            Text(one.subject or "the working copy, not committed"),
        )
    console.print(table)
    if not all(one.cached for one in versions):
        console.print("what is not here: `dvc fetch --all-commits` brings it from the remote")


def _committed(root: Path) -> Iterator[tuple[_Commit, str]]:
    """Yield every commit that changed dvc.lock, oldest first, with the file as it left it."""
    told = _git(root, "log", "--reverse", f"--format={FIELDS}", "--", LOCK)
    commits = [_Commit(*line.split("\t", 2)) for line in told.splitlines()]
    for commit in commits:
        yield commit, _git(root, "show", f"{commit.id}:./{LOCK}", missing="")


def _git(root: Path, *words: str, missing: str | None = None) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    if missing is not None:
        return missing
    if "does not have any commits" in done.stderr:
        return ""
    raise ArtefactError(
        f"git cannot tell the history of {LOCK}: {done.stderr.strip()}",
        fix="run from inside the project's git repository",
    )


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def locked_hash(lock: str, out: str) -> str | None:
    """Return the hash that a dvc.lock gives for an output."""
    try:
        found = yaml.load(lock, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None  # a commit may hold the marks of a merge conflict
    stages: dict[str, Any] = found.get("stages", {}) if isinstance(found, dict) else {}
    for stage in stages.values():
        for one in stage.get("outs") or ():
            if one.get("path") == out:
                return str(one.get("md5"))
    return None


def _versions(root: Path, recipe: str, changes: list[tuple[_Commit, str]]) -> list[Version]:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return [_version(repo.cache.local, recipe, commit, found) for commit, found in changes]


def _version(cache: Any, recipe: str, commit: _Commit, found: str) -> Version:
    """Return one version with what the cache knows of it: a list of files, then the files."""
    listing = Path(cache.oid_to_path(found))
    files: dict[str, Path] = {}
    if listing.is_file():
        entries = json.loads(listing.read_text(encoding="utf-8"))
        files = {one["relpath"]: Path(cache.oid_to_path(one["md5"])) for one in entries}
    facts = _facts(files.get(MANIFEST))
    return Version(
        recipe=recipe,
        commit=commit.id,
        date=commit.date,
        subject=commit.subject,
        dataset=found,
        rows=facts.get("splits"),
        quarantined=facts.get("rows", {}).get("quarantined"),
        cached=bool(files) and all(file.is_file() for file in files.values()),
    )


def _facts(manifest: Path | None) -> dict[str, Any]:
    if manifest is None or not manifest.is_file():
        return {}
    return dict(json.loads(manifest.read_text(encoding="utf-8"))["facts"])
