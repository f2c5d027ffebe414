"""Data goes to a remote and comes back from it, byte for byte: a folder, and an S3 server."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_project import INPUTS, done
from s3_server import s3_server
from toy_project import Toy

from flows.data_diff import diff
from flows.data_log import log

pytestmark = pytest.mark.slow


def files_of(root: Path) -> dict[str, bytes]:
    """Return the files of the data, the inputs and what was accepted."""
    files = [file for file in (root / "data").rglob("*") if file.is_file()]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def wipe(project: Toy) -> None:
    """Leave what a fresh clone would have: no cache, and no file that DVC keeps."""
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.root / ".dvc/tmp", ignore_errors=True)
    for name in ("data/tiny/raw", "data/tiny/dataset"):
        shutil.rmtree(project.root / name)
    (project.root / INPUTS / "more.jsonl").unlink()


def set_remote(project: Toy, url: str, endpoint: str | None, *where: str) -> None:
    done(project, "dvc", "remote", "add", *where, "--default", "store", url)
    if endpoint:
        done(project, "dvc", "remote", "modify", *where, "store", "endpointurl", endpoint)


def comes_back(project: Toy, url: str, endpoint: str | None = None) -> None:
    """Push, wipe and pull; the same bytes are there, and nothing is left to do."""
    before = files_of(project.root)
    # Where DVC reads .dvc/config as it was at each commit, it skips those without the remote.
    set_remote(project, url, endpoint, "--local")
    done(project, "dvc", "push", "--run-cache", "--all-commits")
    (project.root / ".dvc/config.local").unlink()
    set_remote(project, url, endpoint)
    wipe(project)
    assert not log(project.root, "tiny")[0].cached
    assert diff(project.root, "tiny", "HEAD~1", "HEAD").added.count > 0, "read from the remote"

    done(project, "dvc", "pull", "--run-cache")
    assert files_of(project.root) == before
    assert "didn't change, skipping" in done(project, "dvc", "repro")
    assert "up to date" in done(project, "dvc", "status")
    assert (project.root / ".dvc/cache/runs").is_dir()


def test_a_folder_is_a_remote(versions_here: Toy, tmp_path: Path) -> None:
    comes_back(versions_here, str(tmp_path / "store"))


def test_an_s3_server_is_a_remote(versions_here: Toy, bucket: str) -> None:
    comes_back(versions_here, "s3://data/tuneline", bucket)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine with a bucket `data`; gives its address."""
    pytest.importorskip("dvc_s3")
    with s3_server(monkeypatch, tmp_path) as (address, _):
        yield address
