"""What dvc.lock says of a recipe: the hash of every stage's output."""

import time
from pathlib import Path
from typing import Any

import yaml

TRIES = 20
PAUSE_S = 0.1


def locked_hashes(root: Path, recipe: str) -> dict[str, str]:
    """Return DVC's md5 of each stage's first output, by stage name; empty before the first run."""
    hashes = {}
    for address, stage in read_lock(root / "dvc.lock").get("stages", {}).items():
        name, _, of = address.partition("@")
        if of == recipe and stage.get("outs"):
            hashes[name] = str(stage["outs"][0]["md5"])
    return hashes


def read_lock(file: Path) -> dict[str, Any]:
    """Read the lock file; DVC rewrites it in place, so what is half there is read again."""
    for left in reversed(range(TRIES)):
        if not file.is_file():
            return {}
        try:
            found = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        except yaml.YAMLError:
            if not left:
                raise
        else:
            if isinstance(found, dict):
                return found
        time.sleep(PAUSE_S)
    return {}
