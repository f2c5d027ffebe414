"""`tuneline reproduce`: rebuild a version from what made it, elsewhere, and compare the hashes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import did_you_mean
from flows.environment import prepare, state_folder
from flows.registry_check import folder_hash
from flows.registry_errors import RegistryError
from flows.registry_lineage import Lineage, inputs_of

OURS = ("MLFLOW_", "PREFECT_", "TUNELINE_")
LAST_WORDS = 25
CACHE = "tuneline-cache"
"""The name of the project's own cache among the remotes of the clone."""


@dataclass(frozen=True)
class Compared:
    """One thing that was rebuilt, or read anew: its hash then and now."""

    name: str
    then: str
    now: str | None

    @property
    def same(self) -> bool:
        return self.then == self.now


@dataclass(frozen=True)
class Rebuilt:
    """What came of a rebuild. `inputs` that differ explain artefacts that do."""

    folder: Path
    artefacts: list[Compared]
    inputs: list[Compared]
    packages: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return bool(self.artefacts) and all(one.same for one in self.artefacts)

    def lines(self) -> list[str]:
        """Return the comparison for people, the verdict last."""
        told = [f"  {one.name:<22}{_told(one)}" for one in self.artefacts]
        told += [f"  input {one.name}: {_told(one)}" for one in self.inputs if not one.same]
        if self.packages:
            told.append(f"  {len(self.packages)} packages differ: {', '.join(self.packages[:8])}")
        different = sum(not one.same for one in self.artefacts)
        verdict = (
            f"all {len(self.artefacts)} hashes are those of then"
            if self.same
            else f"{different} of {len(self.artefacts)} hashes DIFFER"
        )
        return [*self.notes, *told, verdict]


def reproduce(root: Path, made: Lineage, *, until: str = "export") -> Rebuilt:
    """Clone the commit of a version, run its line up to stage `until`, and compare every hash.

    Nothing of the project is touched, no cache of earlier runs is used, and MLflow gets nothing.
    The clone lies in .tuneline/reproduce/: who calls this deletes it.

    Raises:
        RegistryError: it is not known what made the version, or it cannot be built (the log's last
            lines are told).
    """
    if made.git_commit is None or made.recipe is None:
        raise RegistryError(
            f"nobody can say what made {made.model}@{made.version}: it bears no git commit or "
            "recipe",
            fix="versions that `tuneline run` registers in a git repository do",
        )
    folder = state_folder(root) / "reproduce" / f"{made.model}-{made.version}"
    log = folder.with_name(f"{folder.name}.log")
    shutil.rmtree(folder, ignore_errors=True)
    log.unlink(missing_ok=True)
    project = clone(root, folder, made.git_commit)
    notes = use_recipe(project, made)
    need_stage(project, until)
    env = environment_of(project)
    bring_inputs(root, project, made.recipe, env)
    (project / "dvc.lock").unlink(missing_ok=True)
    # without the run cache: it would give back what was built then
    words = ("repro", "--no-run-cache", f"{until}@{made.recipe}")
    run([sys.executable, "-m", "dvc", *words], project, env, log)
    return compare(project, folder, made, notes)


def clone(root: Path, folder: Path, commit: str) -> Path:
    """Check `commit` out in a clone of the repository of `root`; return the project in it."""
    prefix = git(root, "rev-parse", "--show-prefix").strip()
    top = git(root, "rev-parse", "--show-toplevel").strip()
    try:
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except RegistryError as error:
        raise RegistryError(
            f"commit {commit[:12]} is not in the repository of {root}",
            fix="fetch the branch or tag that holds it: git fetch --all --tags",
        ) from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(root, "clone", "--quiet", "--no-checkout", top, str(folder))
    git(folder, "checkout", "--quiet", "--detach", commit)
    return folder / prefix


def use_recipe(project: Path, made: Lineage) -> list[str]:
    """Put the recipe of then into the clone; return what is to be told of it."""
    notes = []
    file = project / "recipes" / f"{made.recipe}.yaml"
    if made.recipe_text is not None:
        here = file.read_text(encoding="utf-8") if file.is_file() else None
        if here != made.recipe_text:
            file.write_text(made.recipe_text, encoding="utf-8")
            notes.append("the recipe is the one of then: the commit holds another")
    if made.git_dirty:
        notes.append("the working copy had changes then that are in no commit")
    from flows.recipe import add_to_line

    if add_to_line(project, str(made.recipe)):
        notes.append("the commit did not have the recipe on the line")
    return notes


def need_stage(project: Path, until: str) -> None:
    """Raise `RegistryError` unless the graph of then has a stage `until`."""
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    if until not in stages:
        raise RegistryError(
            f"the graph has no stage '{until}'{did_you_mean(until, stages)}",
            fix=f"use one of: {', '.join(stages)}",
        )


def environment_of(project: Path) -> dict[str, str]:
    """Return the environment of the rebuild: stores of its own, nothing of the project's run."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    prepare(project, env)
    env["PYTHONPATH"] = os.pathsep.join([str(project), *_paths(env.get("PYTHONPATH"))])
    return env


def bring_inputs(root: Path, project: Path, recipe: str, env: Mapping[str, str]) -> None:
    """Bring the inputs that DVC keeps: out of the project's cache, else out of its remote."""
    folders = [project / "data" / kind / recipe for kind in ("inputs", "accepted", "judged")]
    kept = [str(f.relative_to(project)) for one in folders for f in sorted(one.rglob("*.dvc"))]
    if not kept:
        return
    dvc, log = [sys.executable, "-m", "dvc"], project / ".tuneline" / "inputs.log"
    cache = subprocess.run(
        [*dvc, "cache", "dir"], cwd=root, env=dict(env), capture_output=True, text=True, check=True
    ).stdout.strip()
    bring_remotes(root, project)
    run([*dvc, "remote", "add", "--local", CACHE, str(root / cache)], project, env, log)
    try:
        run([*dvc, "pull", "--remote", CACHE, *kept], project, env, log)
    except RegistryError:
        run([*dvc, "pull", *kept], project, env, log)


def bring_remotes(root: Path, project: Path) -> None:
    """Take along the remotes that only this working copy knows, with their keys.

    Nothing else of its local settings: a cache elsewhere would be written to by the rebuild.
    """
    from configobj import ConfigObj

    here = root / ".dvc" / "config.local"
    if not here.is_file():
        return
    known, taken = ConfigObj(str(here)), ConfigObj()
    for name, section in known.items():
        if name.strip("'").startswith("remote "):
            taken[name] = section.dict()
        elif name == "core" and "remote" in section:
            taken[name] = {"remote": section["remote"]}
    file = project / ".dvc" / "config.local"
    file.write_bytes(b"\n".join(line.encode() for line in taken.write()) + b"\n")
    file.chmod(0o600)


def compare(project: Path, folder: Path, made: Lineage, notes: list[str]) -> Rebuilt:
    """Compare every output in the new lock, and the exported file, with what was registered."""
    from flows.registry_bundle import environment

    recipe = str(made.recipe)
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    outs = {
        Path(out["path"]).name: str(out["md5"])
        for stage in lock["stages"].values()
        for out in stage.get("outs", ())
    }
    found = [Compared(n, made.artefacts[n], md5) for n, md5 in outs.items() if n in made.artefacts]
    shipped = project / "data" / recipe / "onnx" / str(made.ship)
    if made.sha256 and made.ship and shipped.is_dir():
        found.append(Compared(f"{made.ship} file", made.sha256, folder_hash(shipped)))
    now = inputs_of(lock)
    inputs = [Compared(p, then, now.get(p)) for p, then in made.inputs.items() if p in now]
    then_packages: dict[str, Any] = made.environment.get("packages", {})
    here = environment()["packages"]
    packages = [
        f"{name} {version} → {here.get(name, 'none')}"
        for name, version in then_packages.items()
        if here.get(name) != version
    ]
    return Rebuilt(folder, found, inputs, packages, notes)


def run(words: list[str], place: Path, env: Mapping[str, str], log: Path) -> None:
    """Run a command into a log; raise `RegistryError` with its last lines if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        done = subprocess.run(
            words, cwd=place, env=dict(env), stdout=stream, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").split("\n")[-LAST_WORDS:]
        raise RegistryError(
            f"`{' '.join(words[1:])}` failed in {place}:\n  " + "\n  ".join(last).rstrip(),
            fix=f"the whole log is in {log}",
        )


def git(place: Path, *words: str) -> str:
    """Return what git prints; raise `RegistryError` with what it complains of."""
    done = subprocess.run(
        ["git", "-C", str(place), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RegistryError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _told(one: Compared) -> str:
    if one.same:
        return f"{one.then[:16]}  same"
    return f"{one.then[:16]} then, {(one.now or 'nothing')[:16]} now  DIFFERENT"


def _paths(value: str | None) -> list[str]:
    return [path for path in (value or "").split(os.pathsep) if path]
