"""Downloads through fsspec: whole or not there, and going on where an earlier one was cut off."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from components.contracts.artefacts import need_space
from components.contracts.errors import SourceError, UnreachableError
from components.contracts.events import Context
from components.sources.many import fixed_part, identity, is_pattern, is_row_file
from components.sources.origin import RowFile
from components.sources.settings import UrlRows
from components.sources.url_errors import explain, open_filesystem, trouble

BLOCK = 1 << 24
"""Bytes asked for at once, and the most that a cut-off download loses."""

VALIDATORS = ("ETag", "etag", "LastModified", "mtime", "updated", "created", "md5Hash")
"""What file systems call the mark that changes with a file's content."""


class Remote(NamedTuple):
    """A file to bring: its path on the file system, its name here, its size and its mark."""

    path: str
    name: str
    size: int | None
    mark: str | None


def download(settings: UrlRows, context: Context) -> list[RowFile]:
    """Return the files behind the URL, from an earlier download if the recipe's hash names one.

    They are kept in `context.scratch/downloads/SHA256/` and arrive there whole or not at all.
    Raises `SourceError` for a wrong hash, a missing file, credentials or extra, and
    `UnreachableError` when the server does not answer.
    """
    downloads = context.scratch / "downloads"
    if settings.sha256 is not None and (kept := _kept(downloads / settings.sha256, settings)):
        return kept
    filesystem, path = open_filesystem(settings)
    try:
        wanted = listing(filesystem, path, settings.url)
        part = _part(downloads, settings, wanted)
        need_space(part, sum(one.size or 0 for one in wanted), settings.url)
        for one in wanted:
            bring_file(filesystem, one, part / one.name, context)
    except trouble() as error:
        raise explain(error, settings.url) from error
    found = identity(_files(part))["sha256"]
    if settings.sha256 not in (None, found):
        shutil.rmtree(part)
        raise SourceError(
            f"{settings.url} holds other bytes than the recipe\n"
            f"  expected sha256 {settings.sha256}\n  found    sha256 {found}",
            fix="if you trust what is there now, put its hash into source.sha256",
        )
    home = downloads / found
    shutil.rmtree(home, ignore_errors=True)
    part.rename(home)
    return _files(home)


def _kept(home: Path, settings: UrlRows) -> list[RowFile]:
    """Return the files of an earlier download, if they are still what the recipe names."""
    files = _files(home) if home.is_dir() else []
    return files if files and identity(files)["sha256"] == settings.sha256 else []


def _files(folder: Path) -> list[RowFile]:
    names = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return [RowFile(name, folder / name) for name in names]


def listing(filesystem: Any, path: str, url: str) -> list[Remote]:
    """Return the files to bring, in order of their names."""
    web = urlsplit(url).scheme in ("http", "https")  # a web server has no folders and no patterns
    if web or not (is_pattern(url) or url.endswith("/")):
        name = unquote(urlsplit(url).path.rsplit("/", 1)[-1]) or "rows"
        found = {name: filesystem.info(path)}
    else:
        base = fixed_part(path) if is_pattern(path) else path.rstrip("/")
        infos = filesystem.glob(path, detail=True) if is_pattern(path) else None
        infos = filesystem.find(path, detail=True) if infos is None else infos
        names = {place[len(base) :].lstrip("/"): info for place, info in infos.items()}
        found = {name: info for name, info in names.items() if info.get("type") != "directory"}
    files = [_remote(name, found[name]) for name in sorted(found) if is_row_file(name)]
    if not files:
        raise SourceError(f"{url}: no file is there", fix="correct source.url")
    return files


def _remote(name: str, info: dict[str, Any]) -> Remote:
    mark = next((str(info[key]) for key in VALIDATORS if info.get(key)), None)
    return Remote(info["name"], name, info.get("size"), mark)


def _part(downloads: Path, settings: UrlRows, wanted: Sequence[Remote]) -> Path:
    """Return the folder of the unfinished download of just these files, empty or begun before.

    Without a hash in the recipe or a mark on every file it always starts afresh: nothing could
    tell that both halves of a file are of the same version.
    """
    place = json.dumps([settings.url, settings.storage_options], sort_keys=True, default=str)
    prefix = f".url-{hashlib.sha256(place.encode()).hexdigest()[:16]}-"
    version = json.dumps([list(one) for one in wanted], sort_keys=True)
    part = downloads / f"{prefix}{hashlib.sha256(version.encode()).hexdigest()[:16]}"
    sure = settings.sha256 is not None or all(one.mark for one in wanted)
    for other in downloads.glob(f"{prefix}*"):
        if other != part or not sure:
            shutil.rmtree(other)
    part.mkdir(parents=True, exist_ok=True)
    return part


def bring_file(filesystem: Any, remote: Remote, target: Path, context: Context) -> None:
    """Copy a file, or what is missing of it, to `target`."""
    done = target.stat().st_size if target.exists() else 0
    if remote.size is not None and done == remote.size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    context.events.note(f"downloading {remote.name}" + (f" from byte {done:,}" if done else ""))
    with filesystem.open(remote.path, "rb", block_size=BLOCK) as source:
        done = done if remote.size is not None and _skip(source, done) else 0
        with target.open("ab" if done else "wb") as sink:
            while block := source.read(BLOCK):
                sink.write(block)
                sink.flush()
                done += len(block)
                context.events.progress(remote.name, done, remote.size or done)
    if remote.size is not None and done != remote.size:
        raise UnreachableError(
            f"{remote.name} ended after {done:,} of {remote.size:,} bytes",
            fix="run again: it goes on from there",
        )


def _skip(source: Any, done: int) -> bool:
    """Step over what is here already; say whether the server lets us."""
    try:
        source.seek(done)
    except (ValueError, NotImplementedError):
        return False
    return True
