"""The benchmark for GPUs runs where there is none, on a tiny model, so that it does not rot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "benchmarks" / "gpu" / "run.py"


def call(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(PROGRAM), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.slow
def test_it_measures_ours_and_the_trainer() -> None:
    results = ROOT / "docs" / "gpu-results.md"
    before = results.read_bytes() if results.exists() else None
    words = ["--tiny", "--device", "cpu", "--ways", "tuneline", "trainer", "--adapters", "lora"]
    done = call(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    ratios = json.loads(done.stdout.splitlines()[-1])
    assert set(ratios) == {
        f"tiny lora {length}: {what}" for length in (32, 64) for what in ("MFU", "vs trainer")
    }
    assert all(value > 0 for value in ratios.values())
    assert "nothing about speed" in done.stdout
    assert (results.read_bytes() if results.exists() else None) == before, "only a GPU writes there"


@pytest.mark.slow
def test_without_a_device_it_says_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = call()
    assert done.returncode == 1
    assert "no CUDA device here: nothing was measured" in done.stderr
