"""Commits a recipe's part of dvc.lock, and nothing else that lies about in the working copy."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import TunelineError

LOCK = "dvc.lock"
TRIES = 5
PUSH_S = 3600
UNFINISHED = ("MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD", "REVERT_HEAD")
NOBODY = {"NAME": "tuneline", "EMAIL": "tuneline@localhost"}
"""Who commits where git has not been told a name."""


class CommitError(TunelineError):
    """git or DVC could not do what `operation.commit_lock` or `push_lock` asks for."""


@dataclass(frozen=True)
class Repository:
    """A git repository. `prefix` leads from its top to the project; `env` is for every call."""

    top: Path
    prefix: str
    env: Mapping[str, str]

    def git(self, *words: str, given: bytes | None = None, **env: str) -> str:
        """Return what git prints; raise `CommitError` with what it complains of."""
        done = subprocess.run(
            ["git", *words],
            cwd=self.top,
            env={**self.env, **env},
            input=given,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise CommitError(f"git {words[0]}: {said}", fix="mend it, then commit dvc.lock")
        return done.stdout.decode(errors="replace").strip()

    def has(self, *words: str) -> bool:
        try:
            self.git(*words)
        except CommitError:
            return False
        return True


def commit_lock(root: Path, recipe: str, message: str) -> str | None:
    """Commit dvc.lock as HEAD has it with this recipe's stages as they are here.

    Files of metrics that git keeps go with it. The index and the working copy stay as they are but
    for what is committed, so nobody's staged or changed files are touched. Returns the commit, None
    if there was nothing to commit.

    Raises:
        CommitError: there is no commit yet, or a merge or rebase is under way.
    """
    repository = open_repository(root)
    for left in reversed(range(TRIES)):
        old = repository.git("rev-parse", "HEAD")
        blobs = {
            path: repository.git("hash-object", "-w", "--stdin", given=content)
            for path, content in contents(root, repository, recipe).items()
        }
        new = _commit(repository, old, blobs, message)
        if new is None:
            return None
        try:
            repository.git("update-ref", "-m", f"tuneline: {recipe}", "HEAD", new, old)
        except CommitError:  # somebody committed in this moment
            if not left:
                raise
            continue
        _follow(repository, old, blobs)
        return new
    return None


def open_repository(root: Path) -> Repository:
    """Return the repository of a project that can take a commit now."""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        env.pop(name, None)
    here = Repository(root, "", env)
    top = Path(here.git("rev-parse", "--show-toplevel"))
    found = Repository(top, here.git("rev-parse", "--show-prefix"), env)
    if not found.has("rev-parse", "--verify", "-q", "HEAD"):
        raise CommitError("there is no commit here yet", fix="git add -A && git commit")
    folder = Path(found.git("rev-parse", "--absolute-git-dir"))
    for name in UNFINISHED:
        if (folder / name).exists():
            raise CommitError(
                f"git is in the middle of something ({name}): dvc.lock is not committed",
                fix="finish or abort it, then commit dvc.lock",
            )
    if not found.has("var", "GIT_COMMITTER_IDENT"):
        who = {f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in NOBODY.items()}
        return Repository(top, found.prefix, {**env, **who})
    return found


def contents(root: Path, repository: Repository, recipe: str) -> dict[str, bytes]:
    """Return what is to be committed: path from the repository's top → bytes."""
    place = f"{repository.prefix}{LOCK}"
    known = repository.has("cat-file", "-e", f"HEAD:{place}")
    head = repository.git("show", f"HEAD:{place}") if known else ""
    here = (root / LOCK).read_text(encoding="utf-8")
    found = {place: lock_with(head, here, recipe).encode()}
    for path in metrics(root, recipe):
        found[f"{repository.prefix}{path}"] = (root / path).read_bytes()
    return found


def lock_with(head: str, here: str, recipe: str) -> str:
    """Return the lock of HEAD with one recipe's stages as they are here."""
    then, now = (yaml.safe_load(text) or {} for text in (head, here))
    old, new = then.get("stages", {}), now.get("stages", {})
    if {k: v for k, v in old.items() if not _of(k, recipe)} == {
        k: v for k, v in new.items() if not _of(k, recipe)
    }:
        return here  # as DVC wrote it
    stages = {k: new[k] if _of(k, recipe) else old[k] for k in new if _of(k, recipe) or k in old}
    stages |= {k: v for k, v in old.items() if k not in stages and not _of(k, recipe)}
    return _dumped({**now, "stages": stages})


def _of(address: str, recipe: str) -> bool:
    return address.partition("@")[2] == recipe


def _dumped(lock: Mapping[str, Any]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    writer, text = YAML(), StringIO()
    writer.default_flow_style = False
    writer.dump(dict(lock), text)
    return text.getvalue()


def metrics(root: Path, recipe: str) -> list[str]:
    """Return the outputs of a recipe's stages that git keeps, not DVC's cache."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        outs = [
            Path(out.fs_path)
            for stage in repo.index.stages
            if stage.cmd and _of(stage.addressing, recipe)
            for out in stage.outs
            if not out.use_cache
        ]
    return [one.relative_to(root).as_posix() for one in outs if one.is_file()]


def _commit(repository: Repository, old: str, blobs: Mapping[str, str], message: str) -> str | None:
    """Return a commit of these files on top of `old`; None if it would change nothing."""
    with _index(repository) as index:
        repository.git("read-tree", old, GIT_INDEX_FILE=index)
        for path, blob in blobs.items():
            entry = f"100644,{blob},{path}"
            repository.git("update-index", "--add", "--cacheinfo", entry, GIT_INDEX_FILE=index)
        tree = repository.git("write-tree", GIT_INDEX_FILE=index)
    if tree == repository.git("rev-parse", f"{old}^{{tree}}"):
        return None
    return repository.git("commit-tree", tree, "-p", old, given=message.encode())


@contextmanager
def _index(repository: Repository) -> Iterator[str]:
    """Give the path of an index of our own, so that what is staged stays staged."""
    folder = Path(repository.git("rev-parse", "--absolute-git-dir"))
    file = folder / f"tuneline-index-{os.getpid()}"
    try:
        yield str(file)
    finally:
        file.unlink(missing_ok=True)


def _follow(repository: Repository, old: str, blobs: Mapping[str, str]) -> None:
    """Let the index go with the commit where it had what `old` had: else it would undo it."""
    for path, blob in blobs.items():
        staged = repository.git("ls-files", "-s", "--", path).split()
        before = repository.git("ls-tree", old, "--", path).split()
        if staged[1:2] == before[2:3]:
            _patiently(repository, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")


def _patiently(repository: Repository, *words: str) -> None:
    """Call git again where another process holds the index for a moment."""
    for left in reversed(range(TRIES)):
        try:
            repository.git(*words)
        except CommitError:
            if not left:
                raise
            time.sleep(0.3)
        else:
            return


def push_lock(root: Path, recipe: str) -> None:
    """Push the recipe's data to DVC's default remote, if there is one, then the branch.

    Raises `CommitError` if either is refused: the commit stays here then.
    """
    repository = open_repository(root)
    dvc = [sys.executable, "-m", "dvc"]
    remote = _called([*dvc, "remote", "default"], root, repository.env)
    if remote.returncode == 0 and remote.stdout.strip():
        from flows.graph import read_graph

        targets = [stage.address for stage in read_graph(root, recipe)]
        done = _called([*dvc, "push", *targets], root, repository.env)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            raise CommitError(f"dvc push: {' '.join(last)}", fix="dvc push, then git push")
    repository.git("push", "--quiet")


def _called(
    words: list[str], place: Path, env: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, cwd=place, env=env, capture_output=True, text=True, check=False, timeout=PUSH_S
    )
