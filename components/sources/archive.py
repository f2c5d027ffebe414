"""One file out of an archive, also out of an archive inside an archive."""

import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from components.contracts.errors import SourceError, did_you_mean

ZIP = (".zip", ".whl", ".jar")
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def extract(archive: Path, member: str, folder: Path) -> Path:
    """Write `member` of `archive` into `folder` and return its path there.

    A `!` in `member` steps into an inner archive. Only the last part of a member's path is used as
    a file name, so an archive cannot write outside of `folder`.
    """
    first, _, rest = member.partition("!")
    file = folder / Path(first).name
    if archive.name.endswith(ZIP):
        _from_zip(archive, first, file)
    elif archive.name.endswith(TAR):
        _from_tar(archive, first, file)
    else:
        raise SourceError(
            f"{archive.name} is not an archive that can be read",
            fix=f"endings that can: {', '.join(ZIP + TAR)}",
        )
    return extract(file, rest, folder) if rest else file


def _from_zip(archive: Path, member: str, file: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            if member not in opened.namelist():
                raise _missing(archive, member, opened.namelist())
            with opened.open(member) as stream:
                _copy(stream, file)
    except zipfile.BadZipFile as error:
        raise _damaged(archive, error) from error


def _from_tar(archive: Path, member: str, file: Path) -> None:
    try:
        with tarfile.open(archive) as opened:
            names = {entry.name: entry for entry in opened.getmembers() if entry.isfile()}
            stream = opened.extractfile(names[member]) if member in names else None
            if stream is None:
                raise _missing(archive, member, list(names))
            _copy(stream, file)
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(archive, error) from error


def _copy(stream: IO[bytes], file: Path) -> None:
    with file.open("wb") as target:
        shutil.copyfileobj(stream, target, 1 << 20)


def _missing(archive: Path, member: str, names: list[str]) -> SourceError:
    files = [name for name in names if not name.endswith("/")]
    return SourceError(
        f"{archive.name} has no member '{member}'{did_you_mean(member, files)}",
        fix=f"members there: {', '.join(files[:10])}{' …' if len(files) > 10 else ''}",
    )


def _damaged(archive: Path, error: Exception) -> SourceError:
    return SourceError(f"{archive.name} cannot be unpacked: {error}")
