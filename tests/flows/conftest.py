"""A toy project: the shape of the real line with stages that take no time."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_project import commit, make_project, write_rows
from toy_project import HERE, REPOSITORY, STAGES, Toy

from flows.data_add import add, validate_now


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project that git and DVC know, with an empty MLflow store: made once, then copied."""
    root = tmp_path_factory.mktemp("template") / "toy"
    shutil.copytree(HERE / "toy", root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "gitignore").rename(root / ".gitignore")
    (root / "recipes").mkdir()
    shutil.copy(REPOSITORY / "recipes" / "sentiment.yaml", root / "recipes" / "toy.yaml")
    (root / "knobs").mkdir()
    project = Toy(root)
    for stage in STAGES:
        project.turn(stage, "well")
    for words in (
        ("git", "init", "-q"),
        ("git", "config", "user.email", "toy@example.org"),
        ("git", "config", "user.name", "Toy"),
        (sys.executable, "-m", "dvc", "init", "-q"),
        (sys.executable, "-m", "dvc", "config", "core.autostage", "true"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "toy"),
        (sys.executable, "-c", "from flows.store import client; client().search_experiments()"),
    ):
        done = project.run(*words)
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def made_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project after a whole `dvc repro`."""
    root = tmp_path_factory.mktemp("made") / "toy"
    shutil.copytree(toy_template, root)
    Toy(root).turn("train", "curve")
    done = Toy(root).dvc("repro")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def made(made_template: Path, tmp_path: Path) -> Toy:
    shutil.copytree(made_template, tmp_path / "made")
    return Toy(tmp_path / "made")


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path) -> Toy:
    shutil.copytree(toy_template, tmp_path / "toy")
    return Toy(tmp_path / "toy")


@pytest.fixture
def toy_here(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The toy project as the working directory and environment of this very process."""
    toy.enter(monkeypatch)
    return toy


@pytest.fixture
def made_here(made: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The same, for a project whose whole line has been through `dvc repro`."""
    made.enter(monkeypatch)
    made.calls()
    return made


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[Any]:
    """One Prefect server with its own database for all tests that run a flow."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose data was validated, added to and validated again: three commits."""
    root = tmp_path_factory.mktemp("versions") / "project"
    root.mkdir()
    project = make_project(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        project.enter(monkeypatch)
        validate_now(root, "tiny")
        commit(project, "first data")
        add(root, "tiny", write_rows(tmp_path_factory.mktemp("more") / "more.jsonl", 60))
        validate_now(root, "tiny")
        commit(project, "more data")
    return root


@pytest.fixture
def versions_here(two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The same, as the working directory and environment of this very process."""
    shutil.copytree(two_versions, tmp_path / "project")
    project = Toy(tmp_path / "project")
    project.enter(monkeypatch)
    return project
