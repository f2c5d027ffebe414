"""One run of a recipe at a time in a working copy: the second waits for the first.

It waits rather than ends, because its rows or settings may be newer than what the first has read;
if they are not, it finds nothing to do and ends in seconds. DVC itself would fail at once where two
processes run one stage.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PAUSE_S = 1.0


@contextmanager
def turn(root: Path, recipe: str, tell: Callable[[str], object]) -> Iterator[float]:
    """Hold a recipe's line within the block; gives the seconds that were waited.

    The kernel gives the lock back when the process ends, however it ends. Not to be nested: who
    holds it calls nothing that takes it.
    """
    file = root / ".tuneline" / "runs" / f"{recipe}.turn"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as lock:
        yield _wait(lock, recipe, tell)


def _wait(lock: IO[str], recipe: str, tell: Callable[[str], object]) -> float:
    begun, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                tell(f"another run of {recipe} is at work in this project: waiting for it")
                told = True
            time.sleep(PAUSE_S)
        else:
            return time.monotonic() - begun
