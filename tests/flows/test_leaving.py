"""A stage's process ends at once when its work is done, and not before."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import atexit, sys, threading, time
from pathlib import Path
from flows.leaving import leave_after

class Global:
    def __del__(self):
        print("taken apart", flush=True)

kept = Global()

def late():
    time.sleep(0.3)
    print("thread", flush=True)

def main():
    atexit.register(lambda: print("handler", flush=True))
    threading.Thread(target=late).start()
    sys.stdout.write("without a line's end ")
    {end}

leave_after(main)
"""


def run(end: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", SCRIPT.format(end=end)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)


def test_threads_handlers_and_output_are_waited_for_and_modules_are_not() -> None:
    ended = run("return 0")
    assert ended.returncode == 0
    assert ended.stdout == "without a line's end thread\nhandler\n"


@pytest.mark.parametrize(
    ("end", "code"), [("return 3", 3), ("raise ValueError('no')", 1), ("raise SystemExit(5)", 5)]
)
def test_a_failure_ends_as_in_any_program(end: str, code: int) -> None:
    ended = run(end)
    assert ended.returncode == code
    assert "taken apart" in ended.stdout
    assert ("ValueError: no" in ended.stderr) is ("ValueError" in end)
