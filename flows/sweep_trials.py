"""A trial on the disk: what it is to do, its validation losses so far, how it ended.

FOLDER/trial.json     what to do
FOLDER/curve.jsonl    a validation loss a line, as they come
FOLDER/result.json    how it ended; written last, so a trial with one is over
FOLDER/fault.txt      why the last attempt gave no result
FOLDER/scratch/       checkpoints, while it runs
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from flows.batch_parts import write_whole

SPEC, CURVE, RESULT, FAULT = "trial.json", "curve.jsonl", "result.json", "fault.txt"
METRIC = "eval_loss"
"""What trials are compared by: nats a trained token on the validation split; lower is better."""

State = Literal["complete", "pruned", "failed"]


class Spec(BaseModel):
    """What a trial is to do. `function` is the step, "module:name"; `run` its MLflow run."""

    model_config = ConfigDict(frozen=True)

    number: int
    root: str
    recipe: str
    base: str
    tokens: str
    function: str
    parameters: dict[str, Any]
    training: dict[str, Any]
    prune_after: int | None = None
    run: str | None = None


class Result(BaseModel):
    """How a trial ended: `value` is its lowest validation loss, `message` why it failed."""

    model_config = ConfigDict(frozen=True)

    state: State
    value: float | None
    step: int
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class Trial:
    """One trial, as its folder was when it was read."""

    folder: Path
    spec: Spec
    result: Result | None

    def curve(self) -> dict[int, float]:
        """Return the validation losses so far by step."""
        return read_curve(self.folder)


def trial_folder(sweep: Path, number: int) -> Path:
    """Return the folder of trial `number` of the sweep in folder `sweep`."""
    return sweep / f"trial-{number:04d}"


def read_trials(sweep: Path) -> list[Trial]:
    """Return all trials that the sweep in folder `sweep` has begun, by number."""
    return [read_trial(file.parent) for file in sorted(sweep.glob(f"trial-*/{SPEC}"))]


def read_trial(folder: Path) -> Trial:
    """Return the trial in `folder`."""
    spec = Spec.model_validate_json((folder / SPEC).read_bytes())
    file = folder / RESULT
    result = Result.model_validate_json(file.read_bytes()) if file.is_file() else None
    return Trial(folder, spec, result)


def write_spec(folder: Path, spec: Spec) -> None:
    """Begin a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / SPEC, spec.model_dump_json(indent=2).encode())


def write_result(folder: Path, result: Result) -> None:
    """End a trial."""
    write_whole(folder / RESULT, result.model_dump_json(indent=2).encode())


def read_curve(folder: Path) -> dict[int, float]:
    """Return the losses in a trial's `curve.jsonl` by step.

    A step that was taken again after a crash counts once; a line that is being written is left out.
    """
    file = folder / CURVE
    if not file.is_file():
        return {}
    return dict(_points(file.read_text(encoding="utf-8")))


def _points(text: str) -> Iterator[tuple[int, float]]:
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            point = json.loads(line)
            yield int(point["step"]), float(point[METRIC])


def hopeless(own: Mapping[int, float], others: Sequence[Mapping[int, float]], after: int) -> bool:
    """Say whether a trial is to be pruned, by the rule of Optuna's MedianPruner.

    It is when its lowest loss so far lies above the median of the losses that the others had at its
    last step. `others` are the curves of trials that ran to their end; fewer than `after` of them,
    or none with a loss at that step, prune nothing.
    """
    if not own or len(others) < after:
        return False
    step = max(own)
    beside = [curve[step] for curve in others if step in curve]
    return bool(beside) and min(own.values()) > statistics.median(beside)
