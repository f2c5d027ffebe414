"""Distributions made on the spot, which pip finds without any network."""

import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.contracts.events import Context, Heard

ROWS_TSV = b'1\tgood\tI "like" it\n2\tbad\tno &amp; no\n'


@dataclass(frozen=True)
class Distribution:
    """A distribution file in a folder of its own, and its hash."""

    file: Path
    sha256: str

    @property
    def folder(self) -> Path:
        return self.file.parent


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "data" / "inputs").mkdir(parents=True)
    return Context(root=tmp_path, scratch=tmp_path / "scratch", events=Heard())


@pytest.fixture
def pip_offline(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """pip sees no index; a test adds PIP_FIND_LINKS."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return monkeypatch


@pytest.fixture
def sdist(tmp_path: Path) -> Distribution:
    """`demo-1.0.zip`, whose setup.py works and which holds an archive with rows in it."""
    file = tmp_path / "links" / "demo-1.0.zip"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        setup = "from setuptools import setup\nsetup(name='demo', version='1.0')\n"
        archive.writestr("demo-1.0/setup.py", setup)
        archive.writestr("demo-1.0/PKG-INFO", "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\n")
        archive.writestr("demo-1.0/extra/inner.tar.gz", tar_gz({"inner/rows.tsv": ROWS_TSV}))
    return Distribution(file, hashlib.sha256(file.read_bytes()).hexdigest())


@pytest.fixture
def wheel(tmp_path: Path) -> Distribution:
    """`demo-1.0-py3-none-any.whl` with a file of rows and one that is no model."""
    file = tmp_path / "wheels" / "demo-1.0-py3-none-any.whl"
    file.parent.mkdir()
    info = "demo-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("demo/rows.jsonl", '{"text": "a"}\n{"text": "b"}\n')
        archive.writestr("demo/model.gguf", b"not a model")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        tag = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    return Distribution(file, hashlib.sha256(file.read_bytes()).hexdigest())


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
