"""Nothing that a stage has started outlives the process that wanted it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.child import WATCHED

FAMILY = """
import subprocess, sys, time
here = sys.argv[1]
code = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\\\n'); time.sleep(600)"
for apart in (False, True):  # torch's launcher gives its processes sessions of their own
    subprocess.Popen([sys.executable, "-c", code, here], start_new_session=apart)
open(here, "a").write(f"{__import__('os').getpid()}\\n")
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")


def watched(
    *command: str, grace: float = 5, lock: str = "-"
) -> "tuple[subprocess.Popen[str], int]":
    """Start a command as a stage is; return it and the end of the pipe that keeps it alive."""
    wanted, alive = os.pipe()
    words = [sys.executable, "-P", str(WATCHED), str(wanted), str(grace), lock, *command]
    child = subprocess.Popen(
        words, pass_fds=[wanted], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    os.close(wanted)
    return child, alive


def numbers(file: Path, count: int) -> list[int]:
    """Wait until so many processes have told their numbers."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = file.read_text().split() if file.exists() else []
        if len(found) == count:
            return [int(number) for number in found]
        time.sleep(0.05)
    raise AssertionError("the processes do not start")


def alive(process: int) -> bool:
    return psutil.pid_exists(process) and psutil.Process(process).status() != "zombie"


@LINUX
def test_all_of_it_ends_when_the_parent_is_gone(tmp_path: Path) -> None:
    """The parent is killed: the kernel closes its end of the pipe."""
    child, pipe = watched(sys.executable, "-c", FAMILY, str(tmp_path / "here"))
    family = numbers(tmp_path / "here", 3)
    os.close(pipe)
    assert child.wait(60) == 128 + signal.SIGTERM
    assert not [one for one in family if alive(one)]


@LINUX
def test_what_the_command_leaves_ends_with_it(tmp_path: Path) -> None:
    child, pipe = watched(sys.executable, "-c", FAMILY, str(tmp_path / "here"))
    family = numbers(tmp_path / "here", 3)
    above = next(p for p in psutil.Process(child.pid).children())
    above.kill()  # DVC, by the kernel
    assert child.wait(60) == 128 + signal.SIGKILL
    assert not [one for one in family if alive(one)]
    os.close(pipe)


def test_what_does_not_listen_is_killed_after_the_grace() -> None:
    child, pipe = watched(sys.executable, "-c", DEAF, grace=0.5)
    time.sleep(1)
    os.close(pipe)
    assert child.wait(60) == 128 + signal.SIGTERM


def test_status_and_words_are_the_commands_own() -> None:
    child, pipe = watched(sys.executable, "-c", "print('well'); raise SystemExit(3)")
    assert child.communicate(timeout=60)[0] == "well\n"
    assert child.returncode == 3
    os.close(pipe)


def test_the_next_one_waits_until_the_last_process_is_gone(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    first, pipe = watched(sys.executable, "-c", "import time; time.sleep(600)", lock=lock)
    end = time.monotonic() + 60
    while not Path(lock).exists() and time.monotonic() < end:
        time.sleep(0.05)
    second, other = watched(sys.executable, "-c", "print('mine')", lock=lock)
    assert second.stdout is not None
    assert "waiting for the one before" in second.stdout.readline()
    assert second.poll() is None
    os.close(pipe)
    assert second.communicate(timeout=60)[0] == "mine\n"
    assert first.wait(10) == 128 + signal.SIGTERM
    os.close(other)
