"""Runs a command and sees that nothing of it outlives the process that wanted it.

`python -P watched.py FD GRACE_S LOCK COMMAND…` is started by `flows.child`, as the leader of a
session of its own. FD is the reading end of a pipe whose writing end only the parent holds: the
kernel closes it however the parent ends, also by SIGKILL. Then, on SIGTERM, and when the command
has gone before what it started, all that is left is asked to end (SIGTERM: a training writes a
checkpoint) and killed after GRACE_S seconds. The exit status is the command's.

LOCK is held as long as anything runs (`-`: none): whoever starts the same again waits until the
last process of the session before is gone.

It stands alone and imports little, because each stage pays for it.
"""

import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PAUSE_S = 0.05
LEFTOVERS_S = 2.0
"""What a command has left running when it ended by itself gets, between asking and killing."""


def main(words: list[str]) -> int:
    """Run the command to its end, or until the parent is gone; return its exit status."""
    alive, grace, lock, command = int(words[0]), float(words[1]), words[2], words[3:]
    adopt_orphans()
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # both only end the sleep in `select`
    held = take(lock, alive)
    if held is None:
        return 128 + signal.SIGTERM
    child = subprocess.Popen(command, preexec_fn=die_with_parent)
    ended = wait(child, alive, woken)
    if ended is None:
        clear(grace)
        child.poll()
        return 128 + signal.SIGTERM
    clear(grace if ended < 0 else LEFTOVERS_S)
    return ended if ended >= 0 else 128 - ended


def take(lock: str, alive: int) -> Any:
    """Return the lock, held; None if the parent went while others held it."""
    if lock == "-":
        return True
    file = Path(lock).open("a")  # noqa: SIM115 - held until this process ends
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not told:
                print("  · waiting for the one before, which is ending", flush=True)
                told = True
            if select.select([alive], [], [], PAUSE_S)[0]:
                return None
        else:
            return file


def wait(child: "subprocess.Popen[bytes]", alive: int, woken: int) -> int | None:
    """Return how the command ended; None as soon as the parent is gone or wants an end."""
    while True:
        ready, _, _ = select.select([alive, woken], [], [])
        numbers = os.read(woken, 4096) if woken in ready else b""
        code = child.poll()
        if code is not None:
            return code
        if alive in ready or signal.SIGTERM in numbers:
            return None


def clear(grace: float) -> None:
    """Ask all that is left to end; kill it when `grace` seconds are over."""
    if not reap():
        return
    end = time.monotonic() + grace
    tell(signal.SIGTERM)
    while reap() and time.monotonic() < end:
        time.sleep(PAUSE_S)
    while reap():  # what a process starts while it is being killed is adopted, and found again
        tell(signal.SIGKILL)
        time.sleep(PAUSE_S)


def reap() -> bool:
    """Take the exit status of all that has ended; say whether something still runs."""
    with suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    # Without adoption (macOS) what has lost its parent is no child of ours: ask the group.
    return bool(others_of_group())


def tell(number: int) -> None:
    """Send a signal to every process below this one, and to the rest of its group."""
    import psutil

    below = psutil.Process().children(recursive=True)
    for pid in {process.pid for process in below} | set(others_of_group()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def others_of_group() -> list[int]:
    """Return the processes of this one's group beside itself."""
    if sys.platform.startswith("linux"):
        return []  # all of them are children by now
    import psutil

    mine, found = os.getpgrp(), []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if process.pid != os.getpid() and os.getpgid(process.pid) == mine:
                found.append(process.pid)
    return found


def adopt_orphans() -> None:
    """Become the parent of all below whose own parent dies (Linux; elsewhere nothing happens).

    torch's launcher gives its processes sessions of their own: no signal to a group finds them.
    """
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent is gone (Linux)."""
    prctl(PR_SET_PDEATHSIG, number)


def prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
