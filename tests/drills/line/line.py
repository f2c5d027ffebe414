"""The real stage door with steps that take no time, and stop where a drill wants to disturb them.

`drill/STAGE` holds the word of the place: `begin`, `end` (all done, nothing written), a number of
a training step, `versioned` (a version without an alias). There the step makes `drill/STAGE.here`
and waits until the first file is gone. `drill/pace` holds the seconds of a training step.
"""

import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from components.contracts import kinds
from components.contracts.artefacts import Artefact
from components.contracts.errors import TunelineError
from components.contracts.events import Context
from flows.register import RunContext
from flows.stage import main
from flows.steps import STEPS, Step

STEPS_OF_TRAINING, EVERY = 60, 10
NAME = "drilled"
KINDS: dict[str, type[Artefact]] = {
    "ingest": kinds.Raw,
    "fetch": kinds.BaseModelFolder,
    "train": kinds.Adapter,
    "gate": kinds.Verdict,
    "register": kinds.Registration,
}
FACTS: dict[str, dict[str, Any]] = {
    "gate": {
        "promote": True,
        "ship": "int8",
        "reasons": [{"check": "items", "passed": True, "text": "100 held-out items"}],
    },
    "register": {"name": NAME, "model.sha256": "0" * 64},
}


class StoppedError(TunelineError):
    """SIGTERM came; the state is kept."""


def place(root: Path, name: str, word: str) -> None:
    """Wait here if a drill wants it so."""
    knob = root / "drill" / name
    if told(knob) == word:
        (root / "drill" / f"{name}.here").write_text(str(os.getpid()), encoding="utf-8")
        while told(knob) == word:
            time.sleep(0.02)


def told(knob: Path) -> str | None:
    """Return the word of a knob, which may be taken away or given another one at any time."""
    try:
        return knob.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def log(root: Path, file: str, word: object) -> None:
    (root / "log").mkdir(exist_ok=True)
    with (root / "log" / file).open("a", encoding="utf-8") as stream:
        stream.write(f"{word}\n")


def train(context: Context) -> list[float]:
    """Take all steps from the last checkpoint on; return the losses of all of them."""
    kept = context.scratch / "train.json"
    losses: list[float] = json.loads(kept.read_text()) if kept.is_file() else []
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    pace = context.root / "drill" / "pace"
    seconds = float(pace.read_text()) if pace.is_file() else 0.0
    for step in range(len(losses) + 1, STEPS_OF_TRAINING + 1):
        time.sleep(seconds)
        losses.append(0.95 * losses[-1] + 0.1 / step if losses else 3.0)
        log(context.root, "steps", step)
        context.events.metrics(step, {"loss": losses[-1], "learning_rate": 1 / step})
        if step % EVERY == 0 or asked.is_set():
            temporary = kept.with_suffix(".tmp")
            temporary.write_text(json.dumps(losses))
            temporary.replace(kept)
        if asked.is_set():
            raise StoppedError(f"asked to end after step {step}")
        place(context.root, "train", str(step))
    return losses


def register(context: RunContext) -> None:
    """Make one version of this run and move both aliases, as the real step does."""
    from flows.registry_alias import CHALLENGER, alone, champion, swap
    from flows.store import client

    store = client()
    store.log_text(context.run, "what it was made of\n", "lineage/made.txt")
    before = champion(NAME)
    if not store.search_registered_models(f"name = '{NAME}'"):
        store.create_registered_model(NAME)
    known = [v for v in store.search_model_versions(f"name = '{NAME}'") if v.run_id == context.run]
    if not known:
        source = f"{store.get_run(context.run).info.artifact_uri}/lineage"
        tags = {"model.sha256": "0" * 64}
        known = [store.create_model_version(NAME, source, context.run, tags)]
    number = str(known[0].version)
    place(context.root, "register", "versioned")
    with alone(store, NAME):
        place(context.root, "register", "alone")
        store.set_registered_model_alias(NAME, CHALLENGER, number)
    swap(NAME, before, number, "gate")


def fill(root: Path, folder: Path) -> None:
    """Write until the disk is full, where a drill has made it small."""
    knob = root / "drill" / "fill"
    if not knob.is_file():
        return
    if knob.read_text() == "limit":  # a limit on the size of files: EFBIG, without a small disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    with (folder / "ballast").open("wb") as stream:
        for _ in range(200):
            stream.write(bytes(100_000))


def step_of(name: str) -> Any:
    kind = KINDS[name]

    def step(*given: Any, out: Path, context: Context) -> Artefact:
        log(context.root, "begun", name)
        place(context.root, name, "begin")
        losses = train(context) if name == "train" else []
        if name == "register":
            assert isinstance(context, RunContext)
            register(context)
        place(context.root, name, "end")
        with kind.write(out) as draft:
            knob = (context.root / "knobs" / name).read_text(encoding="utf-8")
            (draft.folder / "made.txt").write_text(f"{name} {knob}\n", encoding="utf-8")
            if losses:
                (draft.folder / "losses.json").write_text(json.dumps(losses), encoding="utf-8")
                fill(context.root, draft.folder)
            draft.facts = FACTS.get(name, {"rows": 3})
        (context.scratch / "train.json").unlink(missing_ok=True)
        log(context.root, "made", name)
        return kind.open(out)

    return step


class LineStep(Step):
    def load(self) -> Any:
        return step_of(next(name for name, step in LINE.items() if step is self))


LINE = {
    name: LineStep(STEPS[name].function, {}, STEPS[name].sections, STEPS[name].output)
    for name in KINDS
}

if __name__ == "__main__":
    code = main(steps=LINE)
    place(Path.cwd(), sys.argv[1], "left")  # made and told; DVC has not entered it
    sys.exit(code)
