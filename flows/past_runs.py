"""A run by any of its names: recipe, recipe at a revision, MLflow run, model version, folder."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from components.contracts.artefacts import MANIFEST
from components.contracts.errors import ArtefactError, RecipeError
from flows.data_log import LOCK, locked_hash
from flows.recipe import flatten, parse_recipe, recipe_file
from flows.steps import STEPS

if TYPE_CHECKING:
    from components.report.side_by_side import Run

READ = {STEPS[name].output: name for name in ("evaluate", "verify", "gate")}
"""The artefacts that are compared, and the stages that make them."""

MLFLOW_RUN = re.compile(r"[0-9a-f]{32}")
KNOWN = (
    "RECIPE, RECIPE@REVISION, an MLflow run id, models:/NAME/VERSION, models:/NAME@ALIAS, a folder"
)


def open_run(root: Path, name: str, scratch: Path) -> "Run":
    """Return the run that `name` stands for; artefacts out of the cache are laid into `scratch`.

    Raises `RecipeError` where nothing has that name, `ArtefactError` where its artefacts are not
    to be had.
    """
    if name.startswith("models:/") or MLFLOW_RUN.fullmatch(name):
        from flows.tracked_tags import tracked

        found = tracked(name)
        hashes = {noun: found.tags.get(f"dvc.{noun}") for noun in READ}
        return _run(name, _from_cache(root, name, hashes, scratch), found.params)
    recipe, _, revision = name.partition("@")
    if revision:
        return _at(root, name, recipe, revision, scratch)
    folder = Path(name)
    if folder.is_dir() and ("/" in name or not (root / "recipes" / f"{name}.yaml").is_file()):
        return _run(name, folder, None)
    file = recipe_file(root, recipe)
    return _run(name, root / "data" / recipe, _settings(file))


def _run(name: str, folder: Path, settings: Mapping[str, str] | None) -> "Run":
    from components.contracts.kinds import Evaluation, Verdict, Verification
    from components.report.side_by_side import Run

    missing = [noun for noun in READ if not (folder / noun / MANIFEST).is_file()]
    if missing:
        raise ArtefactError(
            f"the run '{name}' has no {', '.join(missing)}",
            fix=f"run the line to its verdict first, or name another run: {KNOWN}",
        )
    return Run(
        name,
        Evaluation.open(folder / "evaluation"),
        Verification.open(folder / "verification"),
        Verdict.open(folder / "verdict"),
        settings,
    )


def _at(root: Path, name: str, recipe: str, revision: str, scratch: Path) -> "Run":
    """Return a recipe's run as a git revision has it locked."""
    lock = _show(root, revision, LOCK)
    if lock is None and _show(root, revision, "") is None:
        raise RecipeError(
            f"git knows no revision '{revision}'",
            fix=f"`git log -- {LOCK}` lists those that changed a run",
        )
    hashes = {noun: locked_hash(lock or "", f"data/{recipe}/{noun}") for noun in READ}
    if not any(hashes.values()):
        raise RecipeError(
            f"revision {revision} has no run of recipe '{recipe}' in {LOCK}",
            fix=f"`git log -- {LOCK}` lists those that changed a run",
        )
    text = _show(root, revision, f"recipes/{recipe}.yaml")
    settings = None
    if text is not None:
        file = scratch / f"{recipe}.yaml"
        file.write_text(text, encoding="utf-8")
        settings = _settings(file)
    return _run(name, _from_cache(root, name, hashes, scratch), settings)


def _show(root: Path, revision: str, place: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(root), "show", f"{revision}:./{place}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _settings(file: Path) -> dict[str, str]:
    """Return a recipe's settings with its defaults; one that today's code refuses, as it stands."""
    try:
        return parse_recipe(file).flat()
    except RecipeError:
        return dict(flatten(yaml.safe_load(file.read_text(encoding="utf-8"))))


def _from_cache(root: Path, name: str, hashes: Mapping[str, str | None], scratch: Path) -> Path:
    """Lay the artefacts with these DVC hashes into a folder and return it."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        cache = repo.cache.local
        for noun, found in hashes.items():
            listing = Path(cache.oid_to_path(found)) if found else None
            if listing is None or not listing.is_file():
                raise _not_here(name, noun)
            for entry in json.loads(listing.read_text(encoding="utf-8")):
                source = Path(cache.oid_to_path(entry["md5"]))
                if not source.is_file():
                    raise _not_here(name, noun)
                place = scratch / noun / entry["relpath"]
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)
    return scratch


def _not_here(name: str, noun: str) -> ArtefactError:
    return ArtefactError(
        f"the {noun} of run '{name}' is not in the cache",
        fix="`dvc fetch --all-commits` brings what was pushed to a remote",
    )
