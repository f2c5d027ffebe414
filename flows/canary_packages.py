"""The packages of two environments: which were bumped, in which order, and a mix of both.

A mix is the locked interpreter with the files of some newer packages in front of its path: nothing
is installed, and no index is asked.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Packages = Mapping[str, Mapping[str, Any]]
"""Distribution → version, place, requires, files, as `canary_probe packages` tells."""

OWN = "tuneline"
NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Bump:
    """A package whose version differs; `old` is None where the locked environment has none."""

    name: str
    old: str | None
    new: str

    def told(self) -> str:
        return f"{self.name} {self.old or 'none'} → {self.new}"


def bumps(locked: Packages, newest: Packages) -> list[Bump]:
    """Return what differs in the newest environment, each after those of them that it requires.

    Packages that the newest lacks (tools of developers) are left out.
    """
    changed = {
        name: Bump(name, locked.get(name, {}).get("version"), str(one["version"]))
        for name, one in newest.items()
        if name != OWN and locked.get(name, {}).get("version") != one["version"]
    }
    ordered: dict[str, Bump] = {}
    for name in sorted(changed):
        _put(name, changed, newest, ordered, set())
    return list(ordered.values())


def _put(
    name: str,
    changed: Mapping[str, Bump],
    newest: Packages,
    ordered: dict[str, Bump],
    above: set[str],
) -> None:
    """Enter a package after what it requires; of packages that require each other, as it comes."""
    if name in ordered or name in above:
        return
    for needed in sorted(_required(newest[name]["requires"]) & changed.keys()):
        _put(needed, changed, newest, ordered, above | {name})
    ordered[name] = changed[name]


def _required(lines: Iterable[str]) -> set[str]:
    """Return the names in `Requires-Dist` lines; extras count, as they may be installed."""
    found = (NAME.match(line.strip()) for line in lines)
    return {one.group().lower().replace("_", "-") for one in found if one}


def overlay(name: str, newest: Packages, folder: Path) -> Path:
    """Link the files of a newest package below `folder`; return the folder for the path.

    Scripts outside of the packages' folder are left out. Raises `ValueError` for a package that
    does not list its files.
    """
    one = newest[name]
    target = folder / f"{name}-{one['version']}"
    if target.is_dir():
        return target
    inside = [Path(file) for file in one["files"] if _belongs(Path(file))]
    if not inside:
        raise ValueError(f"{name} does not list its files, so it cannot be taken by itself")
    beside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    for file in inside:
        source = Path(one["place"]) / file
        if source.is_file():
            (beside / file).parent.mkdir(parents=True, exist_ok=True)
            (beside / file).symlink_to(source)
    beside.rename(target)
    return target


def _belongs(file: Path) -> bool:
    return not file.is_absolute() and ".." not in file.parts and file.suffix != ".pyc"


def mix(taken: Sequence[Bump], newest: Packages, folder: Path) -> list[str]:
    """Return what stands in front of the locked interpreter's path for a mix; later ones first."""
    return [str(overlay(one.name, newest, folder)) for one in reversed(taken)]


def python_path(front: Sequence[str], root: Path, environ: Mapping[str, str]) -> str:
    """Return PYTHONPATH: the mix, this code, and what was there."""
    before = [one for one in environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    return os.pathsep.join([*front, str(root), *before])
