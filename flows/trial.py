"""One trial of a sweep as a process: `python -m flows.trial FOLDER`. Ray calls `attempt` itself."""

import fcntl
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError, TunelineError
from components.contracts.events import Context, Events, Silent, Tee
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.settings import TrainingSettings
from flows.environment import prepare, stay_offline
from flows.sweep_trials import (
    CURVE,
    FAULT,
    METRIC,
    Result,
    Spec,
    Trial,
    hopeless,
    read_curve,
    read_trial,
    read_trials,
    write_result,
)

CRASHED = 70
"""Exit code of what nobody foresaw; the same trial may succeed at the next attempt."""


class PrunedError(Exception):
    """The other trials were better at this step."""


@dataclass
class Watch:
    """Writes down every validation loss, and ends a trial that is hopeless beside the others."""

    folder: Path
    prune_after: int | None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if METRIC not in values:
            return
        with (self.folder / CURVE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, METRIC: values[METRIC]}) + "\n")
        if self.prune_after is None:
            return
        ended = [
            trial.curve()
            for trial in read_trials(self.folder.parent)
            if trial.result is not None and trial.result.state == "complete"
        ]
        if hopeless(read_curve(self.folder), ended, self.prune_after):
            raise PrunedError

    def progress(self, label: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


def main(words: list[str] | None = None) -> int:
    """Run a trial as a child process that ends with the one that started it."""
    (folder,) = sys.argv[1:] if words is None else words
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return attempt(Path(folder))


def attempt(folder: Path) -> int:
    """Bring the trial in `folder` to its end; return 0 once its result is written.

    Any other code is that of the error in `fault.txt`: 2 for one that the user can mend, 143 when
    asked to end (a checkpoint was written), 70 for what nobody foresaw. Settings that this model
    cannot be trained with (a loss that is not finite, memory) are a result: this trial failed.
    """
    with _alone(folder):
        trial = read_trial(folder)
        if trial.result is not None:
            return 0
        (folder / FAULT).unlink(missing_ok=True)
        try:
            result = _run(trial)
        except TunelineError as error:
            (folder / FAULT).write_text(str(error), encoding="utf-8")
            return error.exit_code
        except Exception:  # noqa: BLE001 - told to the process that started the trial
            (folder / FAULT).write_text(traceback.format_exc(), encoding="utf-8")
            return CRASHED
        write_result(folder, result)
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        return 0


def _run(trial: Trial) -> Result:
    spec, folder = trial.spec, trial.folder
    root = Path(spec.root)
    prepare(root)
    stay_offline()
    started = time.monotonic()
    value, state, message = None, "complete", ""
    try:
        value = _train(spec, folder, root)
    except PrunedError:
        state = "pruned"
    except ModelError as error:
        state, message = "failed", str(error)
    finally:
        shutil.rmtree(folder / "adapter", ignore_errors=True)
    curve = read_curve(folder)
    if state == "pruned":
        value = min(curve.values())
    elif value is not None and not math.isfinite(value):
        value, state, message = None, "failed", f"the validation loss is {value}"
    seconds = round(time.monotonic() - started, 2)
    return Result.model_validate(
        {
            "state": state,
            "value": value,
            "step": max(curve, default=0),
            "seconds": seconds,
            "message": message,
        }
    )


def _train(spec: Spec, folder: Path, root: Path) -> float:
    """Call the step in the trial's own folder; return its lowest validation loss."""
    module, _, name = spec.function.partition(":")
    step = getattr(import_module(module), name)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    with ExitStack() as stack:
        listeners: list[Events] = []
        if spec.run:
            from flows.live import LiveCurve

            live = LiveCurve(root, spec.recipe, spec.run, Silent())
            listeners.append(stack.enter_context(live))
        listeners.append(Watch(folder, spec.prune_after))
        made = step(
            BaseModelFolder.open(Path(spec.base)),
            Tokens.open(Path(spec.tokens)),
            TrainingSettings.model_validate(spec.training),
            out=folder / "adapter",
            context=Context(root, scratch, Tee(listeners)),
        )
    return _best(made.facts)


def _best(facts: Mapping[str, Any]) -> float:
    found = facts.get("best_eval_loss")
    if found is None:
        raise TunelineError(
            "the trial ended without a validation loss",
            fix="give the recipe validation rows (validation.splits) and a training.eval_steps",
        )
    return float(found)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process works on this trial: one left behind may still be ending."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _end_with_parent() -> None:
    """Send SIGTERM to this process when the other end of its standard input is gone."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
