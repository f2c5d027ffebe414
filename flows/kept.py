"""Who keeps a file's versions, git or DVC, and how DVC comes to keep one."""

from pathlib import Path
from typing import Literal

from components.contracts.errors import ArtefactError

Keeper = Literal["dvc", "git"]


def kept_by(root: Path, place: str) -> Keeper | None:
    """Return who keeps the file at `place` (below `root`), if anybody does."""
    if (root / f"{place}.dvc").is_file():
        return "dvc"
    return "git" if _git_knows(root, place) else None


def keep(root: Path, place: str) -> Keeper:
    """Let DVC keep the file as it is now, unless git does; return who keeps it.

    Raises `ArtefactError` if DVC cannot take it or would not see it.
    """
    if kept_by(root, place) == "git":
        return "git"
    _dvc_add(root, place)
    return "dvc"


def _git_knows(root: Path, place: str) -> bool:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return bool(repo.scm.is_tracked(place))


def _dvc_add(root: Path, place: str) -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            repo.add(str(root / place))
        with Repo(str(root)) as repo:
            seen = str(root / place) in {out.fs_path for out in repo.index.outs}
    except DvcException as error:
        raise ArtefactError(
            f"DVC could not take {place}: {error}", fix=f"see what `dvc add {place}` says"
        ) from error
    if not seen:  # `dvc checkout` would delete the file then, as nobody's
        raise ArtefactError(
            f"DVC does not see {place}.dvc: .gitignore leaves out a folder above it",
            fix="write `/data/*/*`, `!/data/inputs/*` and `!/data/accepted/*` in .gitignore",
        )
