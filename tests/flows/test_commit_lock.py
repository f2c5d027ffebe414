"""dvc.lock goes into git by itself: one recipe's part, and never what else lies about."""

import subprocess
from pathlib import Path

import pytest
import yaml

from flows.commit_lock import CommitError, commit_lock, lock_with


def stage(digest: str) -> dict[str, object]:
    return {"cmd": "true", "outs": [{"path": "data/x", "md5": digest}]}


def lock(**stages: str) -> str:
    named = {name.replace("_", "@"): stage(digest) for name, digest in stages.items()}
    return yaml.safe_dump({"schema": "2.0", "stages": named}, sort_keys=False)


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a lock of two recipes and a file, in a folder below its top."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))
    monkeypatch.setattr("flows.commit_lock.metrics", lambda *_: [])  # DVC is another test's
    root = tmp_path / "top" / "line"
    root.mkdir(parents=True)
    git(tmp_path / "top", "init", "-q")
    (root / "dvc.lock").write_text(lock(train_a="1", train_b="1"))
    (root / "other.txt").write_text("as it was\n")
    git(root, "add", "-A")
    git(root, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "first")
    return root


def committed(root: Path) -> dict[str, str]:
    stages = yaml.safe_load(git(root, "show", "HEAD:line/dvc.lock"))["stages"]
    return {name: one["outs"][0]["md5"] for name, one in stages.items()}


def test_only_the_recipe_of_the_run_is_committed(project: Path) -> None:
    (project / "dvc.lock").write_text(lock(train_a="2", train_b="2", gate_a="2"))
    (project / "other.txt").write_text("being edited\n")
    (project / "staged.txt").write_text("staged by somebody\n")
    git(project, "add", "staged.txt")

    commit = commit_lock(project, "a", "a: dvc.lock\n")

    assert commit == git(project, "rev-parse", "HEAD")
    assert committed(project) == {"train@a": "2", "train@b": "1", "gate@a": "2"}
    assert git(project, "show", "--name-only", "--format=%an", "HEAD").split() == [
        "tuneline",
        "line/dvc.lock",
    ]
    status = git(project, "status", "--short").splitlines()
    assert [line.split() for line in status] == [
        ["M", "dvc.lock"],  # the other recipe's part is still to be committed
        ["M", "other.txt"],
        ["A", "staged.txt"],
    ]
    assert commit_lock(project, "a", "again\n") is None

    commit_lock(project, "b", "b: dvc.lock\n")
    assert git(project, "show", "HEAD:line/dvc.lock") == (project / "dvc.lock").read_text().strip()
    assert "dvc.lock" not in git(project, "status", "--short")


def test_a_lock_that_dvc_has_staged_is_clean_afterwards(project: Path) -> None:
    (project / "dvc.lock").write_text(lock(train_a="2", train_b="1"))
    git(project, "add", "dvc.lock")

    commit_lock(project, "a", "a\n")

    assert git(project, "status", "--short") == ""


def test_nothing_is_committed_in_the_middle_of_a_merge(project: Path) -> None:
    (project / "dvc.lock").write_text(lock(train_a="2", train_b="1"))
    (project.parent / ".git" / "MERGE_HEAD").write_text("0" * 40)

    with pytest.raises(CommitError, match="in the middle of something"):
        commit_lock(project, "a", "a\n")


def test_recipes_that_went_stay_as_the_commit_has_them() -> None:
    merged = yaml.safe_load(lock_with(lock(t_a="1", t_b="1"), lock(t_a="2"), "a"))
    assert {n: s["outs"][0]["md5"] for n, s in merged["stages"].items()} == {"t@a": "2", "t@b": "1"}
    assert lock_with("", lock(t_a="1"), "a") == lock(t_a="1")
