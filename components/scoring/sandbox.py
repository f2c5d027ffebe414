"""Whether programs pass their unit tests, each run in a bounded process of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import comb
from pathlib import Path

from components.scoring.isolate import PASSED

CHILD = Path(__file__).with_name("isolate.py")
FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Limits:
    """`timeout` in seconds of wall time (and of processor time), `memory` in bytes."""

    timeout: float = 10.0
    memory: int = 1 << 30
    workers: int = 1


def passes(program: str, limits: Limits) -> bool:
    """Run `program` in an empty folder; True if it ends in time and without an error."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        file.write_text(program, encoding="utf-8", errors="replace")
        seconds = str(max(1, round(limits.timeout + 0.5)))
        child = subprocess.Popen(
            [sys.executable, "-I", str(CHILD), str(file), seconds, str(limits.memory)],
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            return child.wait(limits.timeout) == PASSED
        except subprocess.TimeoutExpired:
            return False
        finally:
            _end(child)


def passing(programs: Sequence[str], limits: Limits) -> list[bool]:
    """Return for each program whether it passes, `limits.workers` running at a time."""
    with ThreadPoolExecutor(limits.workers) as pool:
        return list(pool.map(lambda program: passes(program, limits), programs))


def program_of(prompt: str, completion: str, test: str, entry_point: str) -> str:
    """Return the program that tests a completion.

    A fenced block is taken for the whole program, anything else goes on where the prompt ends.
    `entry_point` is the name that HumanEval's `check` is called with ("" for tests that run by
    themselves).
    """
    fenced = FENCE.search(completion)
    body = fenced[1] if fenced else prompt + completion
    call = f"\ncheck({entry_point})\n" if entry_point else "\n"
    return f"{body}\n{test}{call}"


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the unbiased estimate that one of `k` samples is right (Chen et al. 2021, eq. 1)."""
    if samples - right < k:
        return 1.0
    return 1.0 - comb(samples - right, k) / comb(samples, k)


def _end(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
