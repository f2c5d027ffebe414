"""What rows are made of, told by hashes alone: cheap to know, and comparable with a lock."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from components.contracts.errors import RecipeError
from components.sources.settings import UrlRows
from flows.locked import read_lock
from flows.recipe import Recipe, recipe_file

SECTIONS = {"ingest": ("source",), "validate": ("format", "validation")}
"""The stages that make the rows, and what they are set by."""


class Inputs(BaseModel):
    """Two hashes: of the rows where they come from, and of the recipe's sections that read them."""

    model_config = ConfigDict(frozen=True)

    rows: str | None
    settings: str


def inputs_now(root: Path, recipe: str, settings: Recipe) -> Inputs:
    """Return the inputs of a recipe as they are now. Runs no stage; DVC knows unchanged files.

    Rows behind a URL without a pin are named by what the last `ingest` got there.
    """
    text = recipe_file(root, recipe).read_text(encoding="utf-8")
    sections: Mapping[str, Any] = yaml.safe_load(text)
    wanted = {name: sections[name] for names in SECTIONS.values() for name in names}
    if unpinned(settings):
        locked = inputs_locked(lock_stages(root), recipe, settings)
        return Inputs(rows=locked.rows if locked else None, settings=_digest(wanted))
    return Inputs(rows=_folder_hash(root, recipe), settings=_digest(wanted))


def inputs_locked(stages: Mapping[str, Any], recipe: str, settings: Recipe) -> Inputs | None:
    """Return the inputs that stages of a dvc.lock were made from; None where it has none."""
    found: dict[str, Any] = {}
    for name, sections in SECTIONS.items():
        stage = stages.get(f"{name}@{recipe}")
        params = (stage or {}).get("params", {}).get(f"recipes/{recipe}.yaml", {})
        if stage is None or not all(section in params for section in sections):
            return None
        found |= {section: params[section] for section in sections}
    ingest = stages[f"ingest@{recipe}"]
    read = ingest.get("outs" if unpinned(settings) else "deps", ())
    place = f"data/{recipe}/raw" if unpinned(settings) else f"data/inputs/{recipe}"
    rows = next((str(one["md5"]) for one in read if one["path"] == place), None)
    return Inputs(rows=rows, settings=_digest(found))


def lock_stages(root: Path) -> Mapping[str, Any]:
    """Return the stages of the working copy's dvc.lock."""
    stages: Mapping[str, Any] = read_lock(root / "dvc.lock").get("stages", {})
    return stages


def unpinned(settings: Recipe) -> bool:
    """Say whether the rows lie behind a URL that may give others tomorrow."""
    return isinstance(settings.source, UrlRows) and settings.source.sha256 is None


def _folder_hash(root: Path, recipe: str) -> str | None:
    """Return DVC's hash of data/inputs/RECIPE as it is now; None where there is no such folder."""
    from dvc.repo import Repo

    place = f"data/inputs/{recipe}"
    with Repo(str(root)) as repo:
        (stage,) = repo.stage.collect(f"ingest@{recipe}")
        found = [dep for dep in stage.deps if dep.def_path == place]
        if not found:
            raise RecipeError(
                f"dvc.yaml: the stage ingest does not depend on {place}",
                fix='write "data/inputs/${item.recipe}" among its deps',
            )
        return str(found[0].get_hash().value) if found[0].exists else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
