"""A GPU machine needs torch, transformers, peft, accelerate … and nothing of the orchestration."""

import subprocess
import sys
from pathlib import Path

GPU = Path(__file__).resolve().parents[1] / "gpu"


def test_training_scoring_and_the_gpu_tests_need_no_orchestration() -> None:
    done = subprocess.run(
        [sys.executable, str(GPU / "bare.py")], capture_output=True, text=True, check=False
    )
    told = done.stdout[-3000:] + done.stderr[-3000:]
    assert done.returncode == 0, told
    assert "imported" in done.stdout
    assert "passed" in done.stdout or "skipped" in done.stdout, told
