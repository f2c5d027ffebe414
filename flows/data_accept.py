"""What a recipe's accepted data is remembered by, in data/accepted/: versioned like the data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.validation.accepted import HOLDOUT, PROFILE, TRAINED
from components.validation.accepted import accept as remember
from flows.data_show import open_dataset
from flows.environment import prepare
from flows.kept import keep


def accept(root: Path, recipe: str) -> str:
    """Remember what a recipe's data set is now; return the folder, as the project names it.

    Past test rows and the keys of the others are data, which DVC keeps (or git, where it does
    already); the profile is a small text for git. Raises `ArtefactError` if there is no whole data
    set or DVC cannot take the files.
    """
    prepare(root)
    dataset = open_dataset(root, recipe)
    dataset.check()
    folder = f"data/accepted/{recipe}"
    remember(dataset, root / folder)
    for name in (HOLDOUT, TRAINED):
        keep(root, f"{folder}/{name}")
    return folder


def to_accept_first(root: Path, recipe: str, changed: Mapping[str, Any]) -> str | None:
    """Return what to do before other rows or splits replace a data set that models were tested on.

    `changed` is what DVC says of the stages. None if there is no such data set, if it is accepted,
    or if its rows are dealt as they were.
    """
    folder = root / "data" / recipe
    if not ((folder / "evaluation").is_dir() and _replaced(changed)):
        return None
    profiles = [folder / "dataset" / PROFILE, root / "data" / "accepted" / recipe / PROFILE]
    here, accepted = (one.read_bytes() if one.is_file() else b"" for one in profiles)
    if here in (b"", accepted):
        return None
    return (
        "models were tested on the data set that is about to be replaced: `tuneline data accept "
        f"{recipe}`, run first, keeps its test rows out of training"
    )


def _replaced(changed: Mapping[str, Any]) -> bool:
    """Say whether the inputs or the recipe changed, not code alone."""
    deps = [
        name
        for stage in ("ingest", "validate")
        for one in changed.get(stage, ())
        if isinstance(one, dict)
        for name in one.get("changed deps", ())
    ]
    return any(name.startswith(("data/inputs/", "recipes/")) for name in deps)
