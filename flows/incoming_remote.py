"""New files of a bucket, told by its listing and fetched to data/incoming/RECIPE/."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from components.contracts.events import Context, Silent
from components.sources.settings import UrlRows
from components.sources.url_download import Remote, bring_file
from components.sources.url_errors import explain, trouble
from flows.child import Tell
from flows.environment import scratch_folder, state_folder
from flows.retrain_marks import listed


def fetch_new(root: Path, recipe: str, url: str, tell: Tell) -> list[str]:
    """Fetch the files of a bucket or folder that were not fetched yet; return their names.

    A file is known by its name and ETag (what the file system has of that kind, else its size), so
    one that was replaced comes again. Raises `UnreachableError` where the place does not answer.
    """
    source = UrlRows(kind="url", url=url, sha256=None)
    filesystem, files = listed(source)
    seen = read_seen(root, recipe)
    fetched = []
    for one in files:
        mark = str(one.mark or one.size)
        if seen.get(one.name) == mark:
            continue
        _fetch(root, recipe, url, filesystem, one)
        seen[one.name] = mark
        write_seen(root, recipe, seen)
        fetched.append(one.name)
        tell(f"{url}: {one.name} has come")
    return fetched


def seen_file(root: Path, recipe: str) -> Path:
    return state_folder(root) / "incoming" / f"{recipe}.json"


def read_seen(root: Path, recipe: str) -> dict[str, str]:
    """Return name → ETag of what was fetched."""
    file = seen_file(root, recipe)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def write_seen(root: Path, recipe: str, seen: dict[str, str]) -> None:
    file = seen_file(root, recipe)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    beside.write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    beside.replace(file)


def _fetch(root: Path, recipe: str, url: str, filesystem: Any, one: Remote) -> None:
    """Bring one file whole: under a hidden name first, then renamed; it is as old as can be."""
    folder = root / "data" / "incoming" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    name = one.name.replace("/", "-")
    version = hashlib.sha256(f"{one.name}\n{one.mark}\n{one.size}".encode()).hexdigest()[:8]
    part = folder / f".{name}.{version}"
    context = Context(root, scratch_folder(root, recipe), Silent())
    try:
        bring_file(filesystem, one, part, context)
    except trouble() as error:
        raise explain(error, url) from error
    os.utime(part, (0, 0))  # whole already: it need not settle
    part.rename(folder / name)
