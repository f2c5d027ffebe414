"""A sweep: trials proposed, run, kept and compared. It goes on where it was interrupted."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import ArtefactError, ModelError, RecipeError, TunelineError
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.settings import TrainingSettings
from flows.batch_parts import write_whole
from flows.environment import state_folder
from flows.steps import STEPS
from flows.sweep_search import load_optuna, propose
from flows.sweep_settings import SweepSettings
from flows.sweep_space import Point, need_known, settings_at
from flows.sweep_trials import (
    FAULT,
    Result,
    Spec,
    Trial,
    read_trial,
    read_trials,
    trial_folder,
    write_result,
    write_spec,
)
from flows.sweep_workers import Workers, open_workers
from flows.trial import CRASHED

ATTEMPTS = 3
"""How often a trial is begun that crashes for no reason that it could tell."""

RUN = "sweep.json"
ENTERED = "entered"
"""Stands in the folder of a trial whose end has been told."""

Tell = Callable[[Trial], None]


@dataclass(frozen=True)
class Sweep:
    """What a sweep is made from; `function` is the step that a trial calls, "module:name"."""

    root: Path
    recipe: str
    settings: SweepSettings
    training: TrainingSettings
    base: BaseModelFolder
    tokens: Tokens
    function: str = STEPS["train"].function
    tracked: bool = True

    @property
    def folder(self) -> Path:
        """Return the folder of this sweep's trials: the same inputs and settings, the same folder.

        How many trials there are and where they run is no part of it: more can be added later.
        """
        s = self.settings
        varied = {key.split(".")[1] for key in s.parameters}
        identity = {
            "base": self.base.digest,
            "tokens": self.tokens.digest,
            "training": self.training.model_dump(mode="json", exclude=varied),
            "parameters": s.model_dump(mode="json", include={"parameters"}),
            "search": [s.search, s.seed, s.prunes, s.n_startup_trials],
            "function": self.function,
        }
        text = json.dumps(identity, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return state_folder(self.root) / "sweeps" / self.recipe / digest


def run_sweep(sweep: Sweep, tell: Tell, note: Callable[[str], None]) -> list[Trial]:
    """Bring every trial to its end; return them all, the best first (see `ranked`).

    Trials that an earlier call finished are kept, and those it had begun go on from their last
    checkpoint. `tell` gets every trial that ends, `note` lines for people.

    Raises:
        RecipeError: a parameter or the search does not fit the recipe or this machine.
        ArtefactError: another process works on this sweep.
        ModelError: not one trial came to its end.
        TunelineError: a trial met a fault that all would meet (its own message).
    """
    need_known(sweep.settings, sweep.training, f"recipes/{sweep.recipe}.yaml: sweep")
    if sweep.settings.search == "tpe":
        load_optuna()
    count = sweep.settings.count
    with alone(sweep.folder):
        book = open_book(sweep, note)
        status = "FAILED"
        try:
            for trial in read_trials(sweep.folder):
                if trial.result is not None and not (trial.folder / ENTERED).exists():
                    ended(trial.folder, book, tell)  # it outlived an interrupted sweep
            if sum(trial.result is not None for trial in read_trials(sweep.folder)) < count:
                with open_workers(sweep.settings) as workers:
                    schedule(sweep, workers, book, tell)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            trials = ranked(read_trials(sweep.folder)[:count])
            book.close(best_of(trials), status)
    if best_of(trials) is None:
        raise ModelError(
            "not one trial came to its end; the first: "
            + next((t.result.message for t in trials if t.result), "none was begun"),
            fix="look at the ranges of the sweep: no setting could be trained with",
        )
    return trials


def schedule(sweep: Sweep, workers: Workers, book: "Book", tell: Tell) -> None:
    """Keep all workers busy until every trial has a result."""
    attempts: dict[Path, int] = {}
    busy: set[Path] = set()
    while True:
        while workers.free and (folder := next_trial(sweep, busy, book, tell)) is not None:
            (folder / FAULT).unlink(missing_ok=True)
            workers.start(folder)
            busy.add(folder)
        if not busy:
            return
        folder, code = workers.wait()
        busy.remove(folder)
        if code == 0:
            ended(folder, book, tell)
            continue
        attempts[folder] = attempts.get(folder, 0) + 1
        if code != CRASHED or attempts[folder] >= ATTEMPTS:
            raise TunelineError(f"{folder.name}: {told_fault(folder)}")


def next_trial(sweep: Sweep, busy: set[Path], book: "Book", tell: Tell) -> Path | None:
    """Return the folder of a trial to start: one that was begun before, or a new one."""
    known = read_trials(sweep.folder)[: sweep.settings.count]
    for trial in known:
        if trial.result is None and trial.folder not in busy:
            return trial.folder
    while len(known) < sweep.settings.count:
        point = propose(sweep.settings, len(known), known)
        folder = begin(sweep, len(known), point, book)
        if read_trial(folder).result is None:
            return folder
        ended(folder, book, tell)
        known = read_trials(sweep.folder)
    return None


def begin(sweep: Sweep, number: int, point: Point, book: "Book") -> Path:
    """Write down a new trial; one whose settings do not go together has failed at once."""
    folder = trial_folder(sweep.folder, number)
    fault, training = None, sweep.training
    try:
        training = settings_at(sweep.training, point)
    except RecipeError as error:
        fault = error.problem
    settings = sweep.settings
    folder.mkdir(parents=True, exist_ok=True)
    if fault is not None:
        write_result(folder, Result(state="failed", value=None, step=0, seconds=0, message=fault))
    spec = Spec(
        number=number,
        root=str(sweep.root),
        recipe=sweep.recipe,
        base=str(sweep.base.path),
        tokens=str(sweep.tokens.path),
        function=sweep.function,
        parameters=point,
        training=training.model_dump(mode="json"),
        prune_after=settings.n_startup_trials if settings.prunes else None,
        run=book.open_trial(number, point),
    )
    write_spec(folder, spec)
    return folder


def ended(folder: Path, book: "Book", tell: Tell) -> None:
    """Enter a trial's end."""
    trial = read_trial(folder)
    book.close_trial(trial)
    tell(trial)
    (folder / ENTERED).touch()


def told_fault(folder: Path) -> str:
    """Return what the last attempt of a trial said of its fault."""
    file = folder / FAULT
    return file.read_text(encoding="utf-8") if file.is_file() else "ended without a word"


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials by their loss: those that came to their end, then pruned, then failed ones."""
    order = ("complete", "pruned", "failed")

    def key(trial: Trial) -> tuple[int, float, int]:
        result = trial.result
        if result is None:
            return len(order), 0.0, trial.spec.number
        value = result.value if result.value is not None else 0.0
        return order.index(result.state), value, trial.spec.number

    return sorted(trials, key=key)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the first of ranked trials if it came to its end."""
    first = trials[0] if trials else None
    complete = first is not None and first.result is not None and first.result.state == "complete"
    return first if complete else None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder for this process; raise `ArtefactError` where another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtefactError(
                f"another process works on this sweep ({folder})", fix="wait until it has ended"
            ) from error
        yield
    finally:
        os.close(lock)


def forget(sweep: Sweep) -> None:
    """Delete all trials of a sweep."""
    with alone(sweep.folder):
        shutil.rmtree(sweep.folder)


@dataclass
class Book:
    """Enters a sweep into MLflow; without `parent` it does nothing.

    A store that fails is told once and left alone: trials are kept on the disk in any case.
    """

    parent: str | None
    note: Callable[[str], None]

    def open_trial(self, number: int, point: Point) -> str | None:
        from flows.sweep_tracking import open_trial

        run = self.parent
        return self.enter(lambda: open_trial(run, number, point)) if run else None

    def close_trial(self, trial: Trial) -> None:
        if self.parent is None or trial.spec.run is None:
            return
        from flows.sweep_tracking import close_trial

        self.enter(lambda: close_trial(trial))

    def close(self, best: Trial | None, status: str) -> None:
        from flows.sweep_tracking import close_parent

        run = self.parent
        if run is not None:
            self.enter(lambda: close_parent(run, best, status))

    def enter(self, what: Callable[[], Any]) -> Any:
        from flows.tracking import FAULTS

        try:
            return what()
        except FAULTS as error:
            self.parent = None
            self.note(f"MLflow does not take it in, the sweep goes on without: {error}")
            return None


def open_book(sweep: Sweep, note: Callable[[str], None]) -> Book:
    """Begin or continue the sweep's MLflow run, whose id is kept beside the trials."""
    book = Book(None, note)
    if not sweep.tracked:
        return book
    from flows.sweep_tracking import open_parent

    file = sweep.folder / RUN
    known = json.loads(file.read_text(encoding="utf-8"))["run"] if file.is_file() else None
    settings = sweep.settings.model_dump(mode="json")
    book.parent = book.enter(lambda: open_parent(sweep.root, sweep.recipe, known, settings))
    write_whole(file, json.dumps({"run": book.parent or known}).encode())
    return book
