"""What a recipe's accepted data is remembered by, in data/accepted/: versioned like the data."""

from pathlib import Path

from components.validation.accepted import HOLDOUT, TRAINED
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
