"""Typed artefacts: folders whose `manifest.json` is written last, so a folder with one is whole."""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from components.contracts.errors import ArtefactError, SpaceError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""A full disk, a spent quota, a limit on the size of files."""

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass
class Draft:
    """An artefact being written: put files under `folder` and facts (JSON values) in `facts`."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artefact:
    """A whole artefact on disk.

    `facts` are small JSON values about it, free of clocks, host names and absolute paths: the same
    inputs, settings and code give the same bytes.
    """

    kind: ClassVar[str]

    path: Path
    facts: dict[str, Any]
    files: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the artefact at `path`; raise `ArtefactError` unless whole and of this kind."""
        manifest = read_manifest(path)
        if manifest["kind"] != cls.kind:
            raise ArtefactError(
                f"{path} holds '{manifest['kind']}', but '{cls.kind}' is needed",
                fix="delete the folder and run the line again",
            )
        for name, entry in manifest["files"].items():
            file = path / name
            if not file.is_file() or file.stat().st_size != entry["size"]:
                raise ArtefactError(
                    f"{file} is missing or has another size than {path / MANIFEST} says",
                    fix="run `dvc checkout`, or delete the folder and run the line again",
                )
        return cls(path=path, facts=manifest["facts"], files=manifest["files"])

    @classmethod
    @contextmanager
    def write(cls, path: Path) -> Iterator[Draft]:
        """Give a `Draft` beside `path`; on success it becomes the artefact at `path`."""
        temporary = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            draft = Draft(temporary)
            yield draft
            _seal(cls.kind, draft)
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise SpaceError(
                    f"no room left on the disk while writing {path}",
                    fix="free some space and run again: finished artefacts are kept",
                ) from error
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @property
    def digest(self) -> str:
        """SHA-256 over the names and digests of all files: the identity of the content."""
        lines = [f"{name} {self.files[name]['sha256']}" for name in sorted(self.files)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def check(self) -> None:
        """Read every file again; raise `ArtefactError` naming the first that has changed."""
        for name, entry in self.files.items():
            if sha256(self.path / name) != entry["sha256"]:
                raise ArtefactError(
                    f"{self.path / name} has changed since it was written",
                    fix="run `dvc checkout`, or delete the folder and run the line again",
                )


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the artefact folder `path`; raise `ArtefactError` if there is none."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ArtefactError(
            f"{path} is not a whole artefact: {MANIFEST} cannot be read",
            fix="run the line again: it makes what is missing",
        ) from error
    if manifest.get("format") != FORMAT:
        raise ArtefactError(
            f"{path} was written in manifest format {manifest.get('format')}, not {FORMAT}",
            fix="delete the folder and run the line again",
        )
    return dict(manifest)


def sha256(file: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(file: Path, value: Any) -> None:
    """Write `value` as stable, readable JSON."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def need_space(folder: Path, needed: int, what: str) -> None:
    """Raise `SpaceError` if the disk of `folder` has fewer than `needed` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(
            f"{what} needs about {needed / 1e9:.1f} GB in {folder}, "
            f"but {free / 1e9:.1f} GB is free",
            fix="free some space and run again: finished artefacts are kept",
        )


def _seal(kind: str, draft: Draft) -> None:
    files = sorted(p for p in draft.folder.rglob("*") if p.is_file())
    listing = {
        file.relative_to(draft.folder).as_posix(): {
            "size": file.stat().st_size,
            "sha256": sha256(file),
        }
        for file in files
    }
    write_json(
        draft.folder / MANIFEST,
        {"format": FORMAT, "kind": kind, "facts": draft.facts, "files": listing},
    )
