"""A sweep of eight trials: two workers against one, on child processes and on Ray.

    python -m benchmarks.sweep [--quick] [--engines processes ray] [--trials 8]

Every trial trains a random Llama-class model on one thread, so two workers need two cores that
nothing else uses. The time is that of the whole sweep: starting the cluster, importing torch in
each trial, training, writing down. The losses must be the same whatever ran them. The last line is
JSON: time of one worker over time of two, by engine (wanted: 1.7).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RATES = [1e-4, 3e-4, 1e-3, 3e-3]
SIZES = {"quick": (128, 2, 400, 2), "full": (256, 4, 1200, 3)}
"""Hidden size, layers, rows, epochs."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--engines", nargs="+", default=["processes", "ray"])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--one", nargs=4, metavar=("FOLDER", "ENGINE", "WORKERS", "EPOCHS"))
    options = parser.parse_args()
    if options.one:
        folder, engine, workers, epochs = options.one
        print(json.dumps(one(Path(folder), engine, int(workers), int(epochs), options.trials)))
        return
    size = SIZES["quick" if options.quick else "full"]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.trials} trials")
    print(f"{'engine':12}{'workers':>8}{'seconds':>10}{'s a trial':>11}")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs(Path(folder), *size[:3])
        losses: set[str] = set()
        for engine in options.engines:
            seconds = {}
            for workers in (2, 1):
                found = apart(folder, engine, workers, size[3], options.trials)
                losses.add(json.dumps(found["losses"]))
                seconds[workers] = found["seconds"]
                print(
                    f"{engine:12}{workers:>8}{found['seconds']:>10.1f}{found['mean']:>11.1f}",
                    flush=True,
                )
            result[f"{engine}_two_workers_against_one"] = round(seconds[1] / seconds[2], 2)
    result["same_losses"] = len(losses) == 1
    print(json.dumps(result))


def apart(folder: str, engine: str, workers: int, epochs: int, trials: int) -> dict[str, Any]:
    """Run one sweep in a process of its own and return what it says."""
    words = ["--one", folder, engine, str(workers), str(epochs), "--trials", str(trials)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sweep", *words],
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(folder: Path, engine: str, workers: int, epochs: int, trials: int) -> dict[str, Any]:
    """Run one sweep anew and return its seconds and the losses of its trials in their order."""
    from components.contracts.kinds import BaseModelFolder, Tokens
    from components.training.settings import TrainingSettings
    from flows.environment import prepare
    from flows.sweep_run import Sweep, run_sweep
    from flows.sweep_settings import SweepSettings

    root = folder / f"{engine}-{workers}"
    root.mkdir()
    prepare(root)
    ranks = [8, 16, 24, 32][: max(1, trials // len(RATES))]
    settings = SweepSettings(
        parameters={
            "training.learning_rate": tuple(RATES[:trials]),
            "training.lora_r": tuple(ranks),
        },
        engine=engine,
        workers=workers,
    )
    training = TrainingSettings(eval_steps=25, num_train_epochs=epochs, bf16=False)
    base, tokens = BaseModelFolder.open(folder / "base"), Tokens.open(folder / "tokens")
    sweep = Sweep(root, "made", settings, training, base, tokens, tracked=False)
    started = time.perf_counter()
    found = run_sweep(sweep, lambda _: None, lambda _: None)
    seconds = time.perf_counter() - started
    results = [t.result for t in sorted(found, key=lambda t: t.spec.number) if t.result]
    return {
        "seconds": seconds,
        "mean": sum(result.seconds for result in results) / len(results),
        "losses": [result.value for result in results],
    }


def inputs(folder: Path, hidden: int, layers: int, rows: int) -> None:
    """Make a random model, and rows whose answer is told by their first token."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from components.contracts.events import Context
    from components.contracts.kinds import Tokens
    from components.contracts.tables import IGNORED, tokens_schema
    from components.sources.fetch import fetch
    from components.sources.settings import RandomModel

    model = RandomModel(kind="random", hidden_size=hidden, num_hidden_layers=layers)
    fetch(model, out=folder / "base", context=Context(folder, folder))
    rng = np.random.default_rng(0)
    with Tokens.write(folder / "tokens") as draft:
        for split, count in (("train", rows), ("validation", rows // 8), ("test", 8)):
            lines = []
            for number in range(count):
                answer = number % 2
                text = rng.integers(10, 200, int(rng.integers(16, 64))).tolist()
                prompt = [1, 60 + answer, *text]
                lines.append(
                    {
                        "id": f"{split}-{number}",
                        "input_ids": [*prompt, 70 + answer, 2],
                        "labels": [IGNORED] * len(prompt) + [70 + answer, 2],
                        "length": len(prompt) + 2,
                        "prompt_tokens": len(prompt),
                        "answer_ids": [70 + answer, 2],
                        "trained_tokens": 2,
                        "target": -1,
                        "truncated_tokens": 0,
                        "eos_trained": True,
                        "bos_doubled": False,
                    }
                )
            table = pa.Table.from_pylist(lines, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": 2}


if __name__ == "__main__":
    main()
