"""Speed of the exported files: reading a prompt, writing an answer, many answers at once.

Against torch's own `generate` in fp32 and bf16 and against llama.cpp (llama-cpp-python, where it is
installed) on the same cores, in one paired run: every way in a process of its own, one after the
other, in several rounds; ratios are those of one round, and the median over rounds is told.

    python benchmarks/inference.py [--quick] [--data data/sentiment] [--rounds N]

`--data` is a folder with the artefacts `base`, `adapter`, `dataset` and `onnx` of a recipe
(`dvc repro export@sentiment` makes them). llama.cpp reads a GGUF file that is written here from the
same merged weights and rounded by llama.cpp itself. `prefill`: tokens a second of a prompt of 512.
`decode`: tokens a second of 128 greedy tokens behind a prompt of 64. `batch`: answers of 32 tokens
a second, in batches of 16 to one by one.

The last line is a JSON object of ratios (ours to the peer's, above 1: ours is faster).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from inference_ways import LLAMA, VARIANTS, installed, measure, merged_model, write_prompts

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MEASURES = ("prefill", "decode")


def main() -> None:
    options = parse()
    if options.way:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        options.merged = merged_model(options.data, Path(scratch))
        options.prompts = Path(scratch) / "prompts.json"
        write_prompts(options.merged, options.prompts)
        if any(way in LLAMA for way in installed(options.onnx)):
            from inference_gguf import write_gguf

            options.gguf = write_gguf(options.merged, Path(scratch))
        rounds = [run_round(options, number) for number in range(options.rounds)]
    tell(rounds, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round, fewer repetitions")
    parser.add_argument("--data", type=Path, default=Path("data/sentiment"))
    parser.add_argument("--onnx", type=Path, help="exported files, if not those of --data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=5, help="repetitions; the fastest counts")
    parser.add_argument("--threads", type=int, default=0, help="0: every CPU of this process")
    parser.add_argument("--way", help="measure this way alone, here")
    parser.add_argument("--merged", type=Path, help="with --way: the merged model")
    parser.add_argument("--gguf", type=Path, help="with --way: the folder of GGUF files")
    parser.add_argument("--prompts", type=Path, help="with --way: the token ids to read")
    options = parser.parse_args()
    options.onnx = options.onnx or options.data / "onnx"
    if options.quick:
        options.rounds, options.repeat = 1, 3
    if not options.onnx.is_dir():
        parser.error(f"{options.onnx} is missing: `dvc repro export@sentiment` makes it")
    options.threads = options.threads or len(os.sched_getaffinity(0))
    return options


def run_round(options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Measure every way once, each in a fresh process; odd rounds go backwards."""
    found: dict[str, Any] = {}
    ways = installed(options.onnx)
    for way in ways if number % 2 == 0 else ways[::-1]:
        command = [sys.executable, __file__, "--way", way]
        for name in ("data", "onnx", "merged", "gguf", "prompts", "repeat", "threads"):
            if getattr(options, name):
                command += [f"--{name}", str(getattr(options, name))]
        quiet = os.environ | {
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(options.threads),
        }
        ended = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
        if ended.returncode:
            raise SystemExit(f"{way} failed:\n{ended.stderr[-2000:]}")
        found[way] = json.loads(ended.stdout.splitlines()[-1])
        told = "  ".join(f"{name} {value:9.2f}" for name, value in found[way].items())
        print(f"round {number + 1}  {way:16} {told}", flush=True)
    return found


def ratio(rounds: list[dict[str, Any]], ours: str, peer: str, measure: str) -> float:
    """Return the median over rounds of ours to the peer's."""
    return statistics.median(found[ours][measure] / found[peer][measure] for found in rounds)


def tell(rounds: list[dict[str, Any]], options: argparse.Namespace) -> None:
    ways = list(rounds[0])
    ours = [f"tuneline {name}" for name in VARIANTS if f"tuneline {name}" in ways]
    peers = [way for way in ways if way not in ours]
    ratios: dict[str, float] = {}
    for name in MEASURES:
        print(f"\n{name}: ratio of tokens a second, ours to the peer's")
        print(f"{'':16}" + "".join(f"{peer:>16}" for peer in peers))
        for way in ours:
            found = {peer: round(ratio(rounds, way, peer, name), 2) for peer in peers}
            print(f"{way:16}" + "".join(f"{value:16.2f}" for value in found.values()))
            for peer, value in found.items():
                key = f"{way.split()[1]}_{name}_vs_{peer}".replace(" ", "_").replace(".", "")
                ratios[key] = value
    for way in ours:
        gain = statistics.median(found[way]["batch16"] / found[way]["batch1"] for found in rounds)
        ratios[f"{way.split()[1]}_batch_16_vs_1"] = round(gain, 2)
        print(f"{way}: batches of 16 against one by one {gain:.2f}")
    sizes = {name: size_of(options.onnx / name) for name in VARIANTS}
    for name, size in sizes.items():
        if size and name != "fp32":
            ratios[f"{name}_size_vs_fp32"] = round(size / sizes["fp32"], 3)
    print(f"{options.threads} threads; MB: { {name: round(s / 1e6) for name, s in sizes.items()} }")
    print(json.dumps(ratios))


def size_of(folder: Path) -> int:
    """Return the bytes of a variant's graph and weights."""
    return sum(file.stat().st_size for file in folder.glob("model.onnx*"))


if __name__ == "__main__":
    main()
