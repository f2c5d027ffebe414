"""Artefacts of earlier runs by DVC's hash: out of the cache, or from the remote."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def bring(root: Path, md5: str, folder: Path, wanted: Callable[[str], bool]) -> bool:
    """Copy the `wanted` files of the folder that DVC knows as `md5` to `folder`.

    Return False, with nothing copied, where they are neither in the cache nor on a remote.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        files = _files(repo, md5, wanted)
        if files is None and _pulled(repo, md5, wanted):
            files = _files(repo, md5, wanted)
    if files is None:
        return False
    for name, source in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    return True


def _files(repo: Any, md5: str, wanted: Callable[[str], bool]) -> dict[str, Path] | None:
    """Return name → file in the cache; None unless all of them are there."""
    entries = _entries(repo, md5, wanted)
    if entries is None:
        return None
    found = {name: Path(repo.cache.local.oid_to_path(one)) for name, one in entries.items()}
    return found if all(file.is_file() for file in found.values()) else None


def _entries(repo: Any, md5: str, wanted: Callable[[str], bool]) -> dict[str, str] | None:
    """Return name → hash of the wanted files of a folder; None where its listing is not cached."""
    listing = Path(repo.cache.local.oid_to_path(md5))
    if not listing.is_file():
        return None
    entries = json.loads(listing.read_text(encoding="utf-8"))
    return {one["relpath"]: one["md5"] for one in entries if wanted(one["relpath"])}


def _pulled(repo: Any, md5: str, wanted: Callable[[str], bool]) -> bool:
    """Bring a folder's listing, then the wanted files, into the cache from the default remote."""
    from dvc.config import NoRemoteError
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    if not repo.config["core"].get("remote"):
        return False
    try:
        if repo.cloud.pull([HashInfo("md5", md5)]).failed:
            return False
        files = _entries(repo, md5, wanted) or {}
        return not repo.cloud.pull([HashInfo("md5", one) for one in files.values()]).failed
    except (NoRemoteError, DvcException, OSError):  # the remote does not answer, or has it not
        return False
