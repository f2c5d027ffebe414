"""What is known of the last run of a recipe: one JSON file below .tuneline/runs/, made whole."""

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from components.contracts.artefacts import MANIFEST, sha256
from flows.environment import state_folder

Door = Literal["prefect", "dvc"]
Outcome = Literal["ran", "restored", "cached"]
Status = Literal["running", "finished", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", validate_assignment=True)


class StageRecord(_Record):
    """How a stage went. `made_by` is the MLflow run that made its output, None for this run."""

    outcome: Outcome
    made_by: str | None = None
    seconds: float | None = None
    peak_rss_bytes: int | None = None
    manifest_sha256: str | None = None


class Fault(_Record):
    """Why a stage failed. `retry` says that the same call may succeed next time."""

    kind: str
    message: str
    retry: bool


class Git(_Record):
    """The commit of the working copy; `dirty` leaves out dvc.lock, which every run changes."""

    commit: str | None = None
    dirty: bool = True


class Registered(_Record):
    """The model version of a run in the MLflow registry."""

    name: str
    version: str
    aliases: list[str] = Field(default_factory=list)


class RunRecord(_Record):
    """One run of the line on one recipe.

    `earlier_flow_run_ids` began it and did not end it: a crash, then another flow run went on.
    `ticket` is in the MLflow run's tags from its first moment: a run that was begun while its id
    could not be written down here is found by it.
    `begun` are the stages that a flow has started, whether or not they came to an end.
    `makers` maps the SHA-256 of a manifest to the run that made the artefact; `before` holds the
    manifests of the run before this one, by stage.
    """

    recipe: str
    door: Door
    status: Status = "running"
    started: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    mlflow_run_id: str | None = None
    prefect_flow_run_id: str | None = None
    earlier_flow_run_ids: list[str] = Field(default_factory=list)
    ticket: str = Field(default_factory=lambda: uuid4().hex)
    git: Git = Field(default_factory=Git)
    stages: dict[str, StageRecord] = Field(default_factory=dict)
    begun: set[str] = Field(default_factory=set)
    faults: dict[str, Fault] = Field(default_factory=dict)
    registration: Registered | None = None
    makers: dict[str, str] = Field(default_factory=dict)
    before: dict[str, str | None] = Field(default_factory=dict)

    def add_stage(self, name: str, stage: StageRecord) -> None:
        """Enter a stage; what this run already made stays `ran` when it is met again unchanged."""
        known = self.stages.get(name)
        same = known and known.manifest_sha256 == stage.manifest_sha256
        if not (same and known and known.outcome == "ran" and stage.outcome != "ran"):
            self.stages[name] = stage
        self.faults.pop(name, None)
        self.status = "running"

    def credit(self) -> None:
        """Fill in who made what, as far as it is known."""
        for stage in self.stages.values():
            key = stage.manifest_sha256
            if key and stage.outcome == "ran" and self.mlflow_run_id:
                self.makers[key] = self.mlflow_run_id
            elif key and stage.outcome != "ran":
                stage.made_by = self.makers.get(key)


def record_file(root: Path, recipe: str) -> Path:
    """Return where the record of a recipe's last run lies."""
    return state_folder(root) / "runs" / f"{recipe}.json"


def read_record(root: Path, recipe: str) -> RunRecord | None:
    """Return the record of the last run, or None if there was none in this working copy."""
    file = record_file(root, recipe)
    if not file.is_file():
        return None
    return RunRecord.model_validate_json(file.read_text(encoding="utf-8"))


@contextmanager
def open_record(root: Path, recipe: str, door: Door) -> Iterator[RunRecord]:
    """Give the record of the run that goes on, to change; it is written back in one piece.

    An unfinished run that `dvc repro` began goes on through either door, one that a flow began
    only within that flow; otherwise a new run begins. Nothing is written if the block raises.
    """
    with _editing(root, recipe) as edit:
        last = edit.record
        if last is None or last.status == "finished" or last.door not in ("dvc", door):
            last = begin(root, recipe, door, last)
        edit.record = last
        yield last


@contextmanager
def open_flow_record(
    root: Path, recipe: str, flow_run: str, *, goes_on: bool = False
) -> Iterator[RunRecord]:
    """Give the record of a Prefect flow run, to change: the same one when that flow is retried.

    What an unfinished `dvc repro` has done becomes the beginning of this run; where `goes_on`, what
    an unfinished flow run has done too.
    """
    with _editing(root, recipe) as edit:
        last = edit.record
        unfinished = last and last.status != "finished" and (goes_on or last.door == "dvc")
        if last is None or not (unfinished or last.prefect_flow_run_id == flow_run):
            last = begin(root, recipe, "prefect", last)
        edit.record = last
        if last.prefect_flow_run_id not in (None, flow_run):
            last.earlier_flow_run_ids.append(str(last.prefect_flow_run_id))
        last.door, last.status, last.faults = "prefect", "running", {}
        last.prefect_flow_run_id = flow_run
        yield last


@dataclass
class _Edit:
    record: RunRecord | None


@contextmanager
def _editing(root: Path, recipe: str) -> Iterator[_Edit]:
    """Read the record and write it back, alone among processes."""
    file = record_file(root, recipe)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        edit = _Edit(read_record(root, recipe))
        yield edit
        if edit.record:
            edit.record.credit()
            temporary = file.with_suffix(".tmp")
            temporary.write_text(edit.record.model_dump_json(indent=2) + "\n", encoding="utf-8")
            temporary.replace(file)


def begin(root: Path, recipe: str, door: Door, last: RunRecord | None) -> RunRecord:
    """Return the record of a new run, which remembers who made what until now."""
    record = RunRecord(recipe=recipe, door=door, git=read_git(root))
    if last:
        record.makers = dict(last.makers)
        record.before = {name: stage.manifest_sha256 for name, stage in last.stages.items()}
    return record


def told_faults(root: Path, recipe: str) -> str:
    """Return what the stages that failed have said, empty if none did."""
    record = read_record(root, recipe)
    told = [f"{name}: {fault.message}" for name, fault in record.faults.items()] if record else []
    return "\n".join(told)


def manifest_key(folder: Path) -> str | None:
    """Return the SHA-256 of an artefact's manifest, which names every byte of it."""
    manifest = folder / MANIFEST
    return sha256(manifest) if manifest.is_file() else None


def read_git(root: Path) -> Git:
    """Return commit and cleanliness of the working copy at `root`."""
    commit = _git(root, "rev-parse", "--verify", "-q", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=normal")
    if commit is None or changes is None:
        return Git(commit=commit or None)
    dirty = any(line[3:].strip() != "dvc.lock" for line in changes.splitlines())
    return Git(commit=commit.strip(), dirty=dirty)


def _git(root: Path, *words: str) -> str | None:
    # No optional locks: DVC may be staging files at this very moment.
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
