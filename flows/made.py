"""The artefacts that training reads, for commands that look ahead of it."""

import warnings
from pathlib import Path

from components.contracts.errors import ArtefactError
from components.contracts.kinds import BaseModelFolder, Tokens


def open_made(root: Path, recipe: str) -> tuple[BaseModelFolder, Tokens]:
    """Open the base model and the tokens of a recipe.

    Raises `ArtefactError` with the command that makes what is missing, and trains nothing.
    """
    data = root / "data" / recipe
    missing = [name for name in ("base", "tokens") if not (data / name).is_dir()]
    if missing:
        raise ArtefactError(
            f"{' and '.join(missing)} of recipe '{recipe}' have not been made here",
            fix=f"dvc repro tokenize@{recipe}   (everything before training, and nothing more)",
        )
    return BaseModelFolder.open(data / "base"), Tokens.open(data / "tokens")


def quiet_libraries() -> None:
    """Keep transformers' progress bars and notices of future changes off the terminal."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
