"""What a fine-tune begins from: the champion's adapter laid where training reads it, or nothing."""

import json
import shutil
import tempfile
from pathlib import Path

from components.contracts.errors import ArtefactError
from components.model.initial import CONFIG, WEIGHTS, misfits
from flows.data_version import bring
from flows.kept import keep
from flows.locked import locked_hashes
from flows.recipe import Recipe, load_recipe, recipe_file
from flows.recipe_edit import with_setting
from flows.retrain_champion import Known
from flows.retrain_tick import Tick

SECTION, KEY = "training", "adapter_name_or_path"
MODEL = "model/"


def initial_place(recipe: str) -> str:
    """Return the folder that a recipe's training goes on from, as the project names it."""
    return f"data/initial/{recipe}/adapter"


def can_go_on(root: Path, recipe: str, settings: Recipe, champion: Known) -> bool:
    """Say whether the champion's adapter is to be had and fits the base and shape of now."""
    if champion.adapter is None or champion.base != locked_hashes(root, recipe).get("fetch"):
        return False
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / MODEL / CONFIG
        if settings.training.full or not bring(root, champion.adapter, Path(made), _wanted):
            return False
        if not file.is_file():
            return False
        return not misfits(json.loads(file.read_text(encoding="utf-8")), settings.training)


def begin_from(root: Path, recipe: str, tick: Tick) -> None:
    """Set the recipe to begin as a tick has decided: `training.adapter_name_or_path`.

    The champion's adapter is copied to data/initial/RECIPE/adapter, kept by DVC, and the stage
    `train` depends on it. Raises `ArtefactError` if it cannot be had any more.
    """
    place = None
    if tick.decision.start == "champion" and tick.champion and tick.champion.adapter:
        place = initial_place(recipe)
        _lay(root, recipe, tick.champion.adapter)
    sheet = recipe_file(root, recipe)
    text = sheet.read_bytes().decode("utf-8")
    if place is None and load_recipe(root, recipe).training.adapter_name_or_path is None:
        return
    edited = with_setting(text, SECTION, KEY, place, f"recipes/{sheet.name}")
    beside = sheet.with_name(f".{sheet.name}.tmp")
    beside.write_bytes(edited.encode("utf-8"))
    beside.replace(sheet)


def _lay(root: Path, recipe: str, adapter: str) -> None:
    """Bring the champion's adapter to its place and let DVC keep it."""
    place = root / initial_place(recipe)
    with tempfile.TemporaryDirectory() as made:
        if not bring(root, adapter, Path(made), _wanted):
            raise ArtefactError(
                f"the champion's adapter ({adapter}) is neither in the cache nor on the remote",
                fix="`dvc fetch --all-commits`, or `start: fresh` under retrain in the recipe",
            )
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(Path(made) / MODEL, place)
    keep(root, initial_place(recipe))


def _wanted(name: str) -> bool:
    return name in (f"{MODEL}{CONFIG}", f"{MODEL}{WEIGHTS}")
