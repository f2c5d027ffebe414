"""Sweeps over the made-up training of `toy_trial`."""

from pathlib import Path
from typing import Any

from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.settings import TrainingSettings
from flows.sweep_run import Sweep, run_sweep
from flows.sweep_settings import SweepSettings
from flows.sweep_trials import Trial

HERE = Path(__file__).parent
GRID: dict[str, Any] = {
    "training.learning_rate": [1e-4, 1e-3, 1e-2],
    "training.lora_r": [8, 16],
}


def made_sweep(root: Path, parameters: dict[str, Any] | None = None, **settings: Any) -> Sweep:
    """Return a sweep of child processes below `root`, without MLflow."""
    with BaseModelFolder.write(root / "data" / "toy" / "base") as draft:
        draft.facts = {"title": "toy"}
    with Tokens.write(root / "data" / "toy" / "tokens") as draft:
        (draft.folder / "ids").write_text("1 2 3")
    return Sweep(
        root=root,
        recipe="toy",
        settings=SweepSettings(
            parameters=parameters or GRID, **{"engine": "processes", "workers": 2, **settings}
        ),
        training=TrainingSettings(eval_steps=1),
        base=BaseModelFolder.open(root / "data" / "toy" / "base"),
        tokens=Tokens.open(root / "data" / "toy" / "tokens"),
        function="toy_trial:train",
        tracked=False,
    )


def run(sweep: Sweep) -> list[Trial]:
    """Run a sweep and hear nothing."""
    return run_sweep(sweep, lambda _: None, lambda _: None)


def calls(sweep: Sweep) -> int:
    """Return how often the training was begun in all."""
    file = sweep.root / "calls.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0
