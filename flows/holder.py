"""Who holds a lock in the MLflow registry, and taking it from a holder that has died."""

import fcntl
import os
import socket
import tempfile
from functools import cache
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from flows.store import ABSENT

HOST, BOOT, PROCESS, BEGUN = "holder.host", "holder.boot", "holder.process", "holder.begun"


def holder() -> dict[str, str]:
    """Return tags that say which process of which machine this is."""
    return {HOST: socket.gethostname(), BOOT: boot(), PROCESS: str(os.getpid()), BEGUN: begun()}


def is_dead(tags: dict[str, str]) -> bool:
    """Say whether the process with these tags was one of this machine and is gone.

    Of other machines nobody here can know. A number that another process bears by now, and one
    from before the machine was started anew, are no life signs.
    """
    if tags.get(HOST) != socket.gethostname() or PROCESS not in tags:
        return False
    return tags.get(BOOT) != boot() or begun(int(tags[PROCESS])) != tags.get(BEGUN)


def let_go_of_dead(store: MlflowClient, lock: str) -> bool:
    """Delete the registered model `lock` if its holder is dead; say whether that was so.

    Only processes of the holder's own machine do so, one at a time: what one has looked at is what
    it deletes.
    """
    guard = Path(tempfile.gettempdir()) / f"tuneline-{os.getuid()}.lock"
    with guard.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            if not is_dead(store.get_registered_model(lock).tags):
                return False
            store.delete_registered_model(lock)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return True
            raise
        return True


@cache
def boot() -> str:
    """Return what the machine was given when it was started (Linux), else the time of that."""
    named = Path("/proc/sys/kernel/random/boot_id")
    if named.is_file():
        return named.read_text(encoding="ascii").strip()
    import psutil

    return f"{psutil.boot_time():.0f}"


def begun(process: int | None = None) -> str:
    """Return when a process began, in a form to compare; empty if there is no such process."""
    import psutil

    number = os.getpid() if process is None else process
    stat = Path(f"/proc/{number}/stat")
    try:
        if stat.is_file():  # ticks since the machine's start: no clock that can be set
            return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return f"{psutil.Process(number).create_time():.2f}"
    except (psutil.Error, OSError):
        return ""
