"""The DVC door: `python -m flows.stage STAGE RECIPE`, run from the project's root."""

import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from components.contracts.artefacts import Artefact, read_manifest
from components.contracts.errors import RecipeError, TunelineError, choose
from components.contracts.events import Context, Events, Tee
from components.contracts.settings import Settings
from flows.backoff import worth_retrying
from flows.environment import prepare, run_id, scratch_folder, stay_offline
from flows.finished import keep, key_of, take_back
from flows.follower import follow, follows
from flows.leaving import leave_after
from flows.progress import Bars, listener
from flows.recipe import NAME, load_recipe
from flows.record import Door, Fault, Registered, StageRecord, manifest_key, open_record
from flows.spread import spreading
from flows.steps import LAST, STEPS, Step
from flows.watched import die_with_parent

Load = Callable[[Path, str], Settings]


def main(
    words: list[str] | None = None, steps: Mapping[str, Step] = STEPS, load: Load = load_recipe
) -> int:
    """Run one stage; return the exit code. What the user can mend is told without a traceback."""
    words = sys.argv[1:] if words is None else words
    if len(words) != 2:
        print("usage: python -m flows.stage STAGE RECIPE", file=sys.stderr)
        return 2
    root, (name, recipe) = Path.cwd(), words
    die_with_parent(signal.SIGTERM)  # DVC leaves what it has started running when it is killed
    prepare(root)
    if follows():
        return follow(root, name, recipe, steps, load)
    try:
        run_stage(root, name, recipe, steps, load)
    except TunelineError as error:
        _record_fault(root, name, recipe, error)
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except BaseException as error:
        _record_fault(root, name, recipe, error)
        raise
    return 0


def run_stage(
    root: Path, name: str, recipe: str, steps: Mapping[str, Step] = STEPS, load: Load = load_recipe
) -> Artefact:
    """Open a stage's inputs below data/RECIPE/, call its step and enter how it went."""
    step = choose("stage", name, dict(steps), RecipeError)
    settings = load(root, recipe)
    sections = [getattr(settings, section) for section in step.sections]
    if not any(getattr(section, "kind", None) == "hub" for section in sections):
        stay_offline()
    data = root / "data" / recipe
    inputs = [kind.open(data / noun) for noun, kind in step.inputs.items()]
    started = time.monotonic()
    key = key_of(root, name, recipe, sections, step.output) if run_id() else None
    if key and take_back(root, name, recipe, key, data / step.output):
        print(f"{name}: was finished when the line was cut off: taken as it is")
        manifest = read_manifest(data / step.output)
        return Artefact(data / step.output, manifest["facts"], manifest["files"])
    with ExitStack() as stack:
        context = _context(root, recipe, step, _listeners(root, recipe, stack))
        context.scratch.mkdir(parents=True, exist_ok=True)
        named: dict[str, Any] = {n: root / "data" / n / recipe for n in step.folders}
        named |= {noun: kind.open(data / noun) for noun, kind in step.beside.items()}
        named |= stack.enter_context(spreading(step))
        made = step.load()(*inputs, *sections, out=data / step.output, context=context, **named)
    seconds = time.monotonic() - started
    if key:
        keep(root, name, recipe, key, made)
    _record_success(root, name, recipe, made, seconds)
    print(f"{name}: made {made.path.relative_to(root)} ({_size(made)}) in {seconds:.0f} s")
    if step.output == LAST and run_id() is None:
        _close_dvc_run(root, recipe, name)
    return made


def _context(root: Path, recipe: str, step: Step, events: Events) -> Context:
    """Return what the step may use; the one that registers is told of the run it belongs to."""
    scratch = scratch_folder(root, recipe)
    if step.output != LAST:
        return Context(root, scratch, events)
    from flows.register import RunContext
    from flows.tracking import lineage, run_of_dvc

    run = run_id() or run_of_dvc(root, recipe)
    return RunContext(root, scratch, events, run, lineage(root, recipe, run))


def _listeners(root: Path, recipe: str, stack: ExitStack) -> Events:
    seen = listener(sys.stdout)
    if isinstance(seen, Bars):
        stack.enter_context(seen)
    from flows.live import LiveCurve

    return Tee([seen, stack.enter_context(LiveCurve(root, recipe, run_id(), seen))])


def _record_success(root: Path, name: str, recipe: str, made: Artefact, seconds: float) -> None:
    with open_record(root, recipe, _door()) as record:
        if made.path.name == LAST:
            record.registration = _registration(made.path)
        record.add_stage(
            name,
            StageRecord(
                outcome="ran",
                seconds=round(seconds, 2),
                peak_rss_bytes=peak_rss_bytes(),
                manifest_sha256=manifest_key(made.path),
            ),
        )


def _registration(folder: Path) -> Registered | None:
    from flows.tracking import registration

    return registration(folder)


def _record_fault(root: Path, name: str, recipe: str, error: BaseException) -> None:
    if not NAME.fullmatch(recipe):
        return
    with open_record(root, recipe, _door()) as record:
        text = (
            str(error) if isinstance(error, TunelineError) else f"{type(error).__name__}: {error}"
        )
        record.faults[name] = Fault(
            kind=type(error).__name__, message=text, retry=worth_retrying(error)
        )
        if _door() == "dvc":
            record.status = "failed"


def peak_rss_bytes() -> int:
    """Return the largest resident size of this process or any of its children that has ended.

    Of this process by the kernel's own mark, where there is one: what `getrusage` tells of a
    process begins with the size of the one that started it.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    status = Path("/proc/self/status")
    if not status.is_file():
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return max(own, children) * (1 if sys.platform == "darwin" else 1024)
    lines = status.read_text(encoding="utf-8").splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return max(own, children) * 1024


def _close_dvc_run(root: Path, recipe: str, name: str) -> None:
    from flows.tracking import close_dvc_run

    close_dvc_run(root, recipe, name)


def _door() -> Door:
    return "prefect" if run_id() else "dvc"


def _size(made: Artefact) -> str:
    total = sum(entry["size"] for entry in made.files.values())
    return f"{len(made.files)} files, {total / 1e6:.1f} MB"


if __name__ == "__main__":
    leave_after(main)
