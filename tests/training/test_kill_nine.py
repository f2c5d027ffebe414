"""kill -9 at any moment: run again until done, the adapter has the bytes of an untouched run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.contracts.kinds import BaseModelFolder, Tokens

SCRIPT = Path(__file__).with_name("killed_runs.py")
REPOSITORY = SCRIPT.parents[2]

CHANGES = {
    "learning_rate": 1e-2,
    "lora_dropout": 0.1,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 10,
    "packing": True,
    "packing_length": 60,
    "gradient_accumulation_steps": 3,
    "average_last": 0.3,
    "eval_steps": 4,
    "save_steps": 1,
    "bf16": False,
}


def killed(
    base: BaseModelFolder, tokens: Tokens, folder: Path, seed: int, kills: int, **changes: object
) -> dict[str, Any]:
    shutil.copytree(base.path, folder / "base")
    shutil.copytree(tokens.path, folder / "tokens")
    words = [str(folder), str(seed), str(kills), json.dumps({**CHANGES, **changes})]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_killed_at_random_lines(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    found = killed(tiny_base, tiny_tokens, tmp_path, seed=3, kills=3)
    assert found["whole"] == 0
    assert any(place.startswith("checkpoint.py") for place in found["killed"])
    assert len(found["killed"]) >= 2
    assert found["same"], found
    assert found["facts"], found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "changes", [{}, {"packing": False}, {"max_tokens_per_batch": 200, "packing": False}]
)
def test_killed_at_many_random_lines(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tmp_path: Path,
    seed: int,
    changes: dict[str, object],
) -> None:
    found = killed(tiny_base, tiny_tokens, tmp_path, seed=100 + seed, kills=12, **changes)
    assert found["same"], found
    assert found["facts"], found
