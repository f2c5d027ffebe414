"""Runs one Python program with little memory, time, disk and no network. Started by path, alone.

Arguments: file of the program, seconds of processor time, bytes of memory. It is a guard against
accidents of a model's code, not against an attacker: give untrusted models a container.
"""

import ctypes
import resource
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
FILE_BYTES = 1_000_000
PASSED = 77
"""The exit status of a program that ran to its end: one that leaves early has not been tested."""


def limit(seconds: int, memory: int) -> None:
    """Bound this process, and all it starts, for good."""
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def leave_network() -> bool:
    """Move into a network of its own, which has none; say whether the system allows it."""
    try:
        return bool(ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
    except (OSError, AttributeError):
        return False


def main() -> None:
    """Run the program as `__main__`, and end with `PASSED` if it comes to its end."""
    source = Path(sys.argv[1]).read_text(encoding="utf-8")
    code = compile(source, "program.py", "exec")
    leave_network()
    limit(int(sys.argv[2]), int(sys.argv[3]))
    exec(code, {"__name__": "__main__"})
    sys.exit(PASSED)


if __name__ == "__main__":
    main()
