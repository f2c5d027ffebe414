"""What the live curve costs the training loop: the same training with and without it, paired.

    python -m benchmarks.live_logging [--quick] [--recipe sentiment] [--data data/sentiment]

Each training is a process of its own that calls the step as the stage does, with the curve of
flows/live.py to an MLflow store of SQLite (on), or with nobody who listens (off). The loop's time
is that between its first step and its last. Rounds take turns at who goes first.

`--data` is a folder with the artefacts `base` and `tokens` of the recipe (`dvc repro
tokenize@sentiment` makes them), `--steps` ends both ways after so many. `--quick` trains a random
model for seconds and shows only that it runs: MLflow's import alone, which happens once and on
another thread, is a large share of that.

Two runs differ by more than one part in a hundred on a machine that is not alone, so the cost is
also measured from within: the time that the loop stands in the listener, and the processor time of
the thread that sends. The last line is a JSON object of medians: `loop` is on over off, less one
(wanted: at most 0.01), `loop_cpu` the same of the processor time, `inside` the share of the loop
that stands in the listener, `sender` the sending thread's share of the processor time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.events import Context, Silent, Tee
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.settings import TrainingSettings
from components.training.train import train
from flows.environment import prepare, stay_offline
from flows.live import LiveCurve
from flows.made import quiet_libraries
from flows.recipe import parse_recipe

ROOT = Path(__file__).resolve().parents[1]
NAME = "measured"
MADE = (256, 4, 1200)
"""Hidden size, layers and rows of what --quick trains."""


@dataclass
class Clock(Silent):
    """Takes the time of the first and the last step, and keeps the last loss."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    loss: float = 0.0

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.loss = values.get("loss", self.loss)


@dataclass
class Measured(LiveCurve):
    """The live curve, and what it takes: `inside` seconds of the loop, `sender` CPU seconds."""

    inside: float = 0.0
    sender: float = 0.0

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        started = time.perf_counter()
        super().metrics(step, values)
        self.inside += time.perf_counter() - started

    def _send(self) -> None:
        try:
            super()._send()
        finally:
            self.sender = time.thread_time()


@dataclass
class Took:
    """Seconds of one training's loop. `after` is what its end waits for the last points."""

    loop: float
    cpu: float
    points: int
    loss: float
    inside: float = 0.0
    sender: float = 0.0
    after: float = 0.0


def main() -> None:
    options = parse()
    if options.way:
        print(json.dumps(asdict(one(options))))
        return
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        scratch = Path(folder)
        if options.quick:
            from benchmarks.sweep import inputs

            options.data = scratch / "data"
            options.data.mkdir()
            inputs(options.data, *MADE)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds")
        print(f"{'round':7}{'way':5}{'loop s':>9}{'CPU s':>9}{'points':>8}", end="")
        print(f"{'inside s':>10}{'sender s':>10}{'end s':>7}")
        rounds = [round_of(number, options, scratch) for number in range(options.rounds)]
    print(json.dumps(ratios(rounds)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of a made model")
    parser.add_argument("--recipe", default="sentiment")
    parser.add_argument("--data", type=Path, default=Path("data/sentiment"))
    parser.add_argument("--steps", type=int, default=-1, help="end after so many (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=["on", "off"], help="one training alone, here")
    parser.add_argument("--out", type=Path, help="where that one works")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    return options


def round_of(number: int, options: argparse.Namespace, scratch: Path) -> dict[str, Took]:
    """Train both ways, each in a process of its own; return what they took."""
    ways = ["off", "on"] if number % 2 == 0 else ["on", "off"]
    found = {}
    for way in ways:
        words = ["--way", way, "--out", str(scratch / f"{way}-{number}")]
        words += ["--data", str(options.data), "--steps", str(options.steps)]
        words += ["--recipe", options.recipe, *(["--quick"] if options.quick else [])]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.live_logging", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found[way] = took = Took(**json.loads(done.stdout.splitlines()[-1]))
        print(f"{number + 1:<7}{way:5}{took.loop:>9.2f}{took.cpu:>9.2f}{took.points:>8}", end="")
        told = f"{took.inside:>10.3f}{took.sender:>10.2f}{took.after:>7.2f}"
        print(told if way == "on" else "", flush=True)
    assert found["on"].loss == found["off"].loss, "listening changes nothing that is learned"
    return found


def one(options: argparse.Namespace) -> Took:
    """Train once and return what it took."""
    root = options.out
    root.mkdir()
    prepare(root)
    stay_offline()
    quiet_libraries()
    (root / "scratch").mkdir()
    base = BaseModelFolder.open(options.data / "base")
    tokens = Tokens.open(options.data / "tokens")
    clock = Clock()

    def trained(*listeners: Any) -> None:
        context = Context(root, root / "scratch", Tee([clock, *listeners]))
        train(base, tokens, settings_of(options), out=root / "adapter", context=context)

    if options.way == "off":
        trained()
        return took(clock)
    with Measured(root, NAME, begun_run(root), Silent()) as curve:
        trained(curve)
        ended = time.perf_counter()
    found = took(clock)
    found.after = time.perf_counter() - ended
    found.inside, found.sender = curve.inside, curve.sender
    return found


def took(clock: Clock) -> Took:
    loop, cpu = clock.wall[-1] - clock.wall[0], clock.cpu[-1] - clock.cpu[0]
    return Took(loop, cpu, len(clock.wall), clock.loss)


def settings_of(options: argparse.Namespace) -> TrainingSettings:
    """Return the recipe's own settings, or those of the made model."""
    if options.quick:
        made = TrainingSettings(eval_steps=25, num_train_epochs=3, bf16=False)
        return made.model_copy(update={"max_steps": options.steps})
    recipe = parse_recipe(ROOT / "recipes" / f"{options.recipe}.yaml")
    return recipe.training.model_copy(update={"max_steps": options.steps})


def begun_run(root: Path) -> str:
    """Begin the run in another process, as the flow does: this one has not imported MLflow yet."""
    code = (
        "from flows.store import client; c = client();"
        f"e = c.create_experiment({NAME!r}, artifact_location={(root / 'files').as_uri()!r});"
        "print(c.create_run(e).info.run_id)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()[-1]


def ratios(rounds: list[dict[str, Took]]) -> dict[str, float]:
    """Return the medians over rounds."""

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 5)

    return {
        "loop": median([one["on"].loop / one["off"].loop - 1 for one in rounds]),
        "loop_cpu": median([one["on"].cpu / one["off"].cpu - 1 for one in rounds]),
        "inside": median([one["on"].inside / one["on"].loop for one in rounds]),
        "sender": median([one["on"].sender / one["on"].cpu for one in rounds]),
        "rounds": len(rounds),
    }


if __name__ == "__main__":
    main()
