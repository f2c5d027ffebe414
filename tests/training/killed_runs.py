"""A training that is killed with SIGKILL at random lines of our code, again and again, until done.

`python killed_runs.py FOLDER SEED KILLS CHANGES` expects FOLDER/base and FOLDER/tokens, trains
once untouched, then in children that die, and prints one JSON object. Each attempt is a fork of
this process, which has imported everything and computed nothing (OpenMP does not survive a fork).
The moment is a number of executed lines of components/, so that a seed gives the same moments
again; every second one is a line of writing or reading a checkpoint.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.training import checkpoint, keeper, loop, resume, train  # noqa: F401 - see above
from components.training.settings import TrainingSettings

OURS = str(Path(train.__file__).parents[1])
ANYWHERE, CHECKPOINT = OURS, str(checkpoint.__file__)


def main(folder: Path, seed: int, kills: int, changes: dict[str, Any]) -> None:
    import peft  # noqa: F401 - before the first fork, so that no child imports it again
    import transformers  # noqa: F401
    from transformers.models.llama import modeling_llama  # noqa: F401

    whole = attempt(folder, "whole", changes, ANYWHERE, None)
    lines = json.loads((folder / "lines").read_text())
    rng = random.Random(seed)
    ends: list[str] = []
    while True:
        place = (ANYWHERE, CHECKPOINT)[len(ends) % 2]
        # What is left gets shorter: a moment in the first third is nearly always still to come.
        moment = rng.randrange(1, lines[place] // 3) if len(ends) < kills else None
        if attempt(folder, "cut", changes, place, moment) == 0:
            break
        ends.append((folder / "where").read_text())
    print(json.dumps({"whole": whole, "killed": ends, **digests(folder)}))


def attempt(
    folder: Path, name: str, changes: dict[str, Any], place: str, moment: int | None
) -> int:
    """Train in a forked child that dies at line `moment` of `place`; return how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watch(folder, place, moment, lambda: run(folder, name, changes))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(folder: Path, place: str, moment: int | None, work: Callable[[], None]) -> None:
    """Do the work, counting lines by place; end without warning at line `moment` of `place`."""
    counts = {ANYWHERE: 0, CHECKPOINT: 0}

    def line(frame: Any, event: str, _: Any) -> Any:
        if event != "line":
            return line
        file = frame.f_code.co_filename
        counts[ANYWHERE] += 1
        counts[CHECKPOINT] += file == CHECKPOINT
        if counts[place] == moment and file.startswith(place):
            (folder / "where").write_text(f"{Path(file).name}:{frame.f_code.co_name}")
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: Any, _: str, __: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(OURS) else None

    sys.settrace(call)
    work()
    sys.settrace(None)
    (folder / "lines").write_text(json.dumps(counts))


def run(folder: Path, name: str, changes: dict[str, Any]) -> None:
    scratch = folder / f"{name}-scratch"
    scratch.mkdir(exist_ok=True)
    train.train(
        BaseModelFolder.open(folder / "base"),
        Tokens.open(folder / "tokens"),
        TrainingSettings(**changes),
        out=folder / name,
        context=Context(root=folder, scratch=scratch, events=Heard()),
    )


def digests(folder: Path) -> dict[str, Any]:
    whole, cut = Adapter.open(folder / "whole"), Adapter.open(folder / "cut")
    return {"same": whole.digest == cut.digest, "facts": whole.facts == cut.facts}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
