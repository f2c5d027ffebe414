"""Tokens a second, peak memory and MFU of LoRA and QLoRA training on a GPU, beside the peers.

Random weights in the shapes of Llama 3.2 1B and Llama 3.1 8B, LoRA r = 16 on all linear layers in
bf16 and on an NF4 base, documents of up to 512 and 4,096 tokens. Every way runs in a process of its
own, one after the other. MFU is the share of the largest bf16 matrix product rate that was measured
in the same process; attention and recomputation are not counted as work.

    python benchmarks/gpu/run.py [--quick] [--no-store]
    python benchmarks/gpu/run.py --device cpu --tiny     # does the program itself work?

Needs torch, transformers, peft, accelerate, pyarrow and pydantic, bitsandbytes for QLoRA, and TRL
with datasets for that peer: what is missing is said and left out. On a GPU the table is added to
docs/gpu-results.md with device, versions and date. The last line is a JSON object of ratios: our
tokens a second to the peer's, and our MFU.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from typing import Any

from ways import OURS, ROOT, SIZES, WAYS, measure, missing

RESULTS = ROOT / "docs" / "gpu-results.md"
TITLE = (
    "# Results on GPUs\n\nWritten by `python benchmarks/gpu/run.py` on machines that have one; "
    "the newest last. See [gpu.md](gpu.md).\n"
)
COLUMNS = ("size", "adapter", "length", "way", "tokens/s", "ours, times", "peak GB", "MFU")


def main() -> None:
    options = parse()
    if options.way:
        print(json.dumps(measure(options)))
        return
    need_device(options)
    cells = [
        (size, adapter, length)
        for size in options.sizes
        for adapter in options.adapters
        for length in options.lengths
    ]
    found = {cell: run_cell(options, *cell) for cell in cells}
    lines, ratios = table(found)
    print("\n".join(lines))
    if options.tiny:
        print("a tiny model: this says that the program runs, and nothing about speed")
    about = next((m["about"] for ways in found.values() for m in ways.values() if m["rate"]), {})
    if about.get("gpus") and options.store:
        store(lines, about)
    print(json.dumps(ratios))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="LoRA at 4,096 alone, 10 s a way")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, three steps a way")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--steps", type=int, default=1000, help="at most so many a way")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["1b", "8b"])
    parser.add_argument("--adapters", nargs="+", choices=["lora", "qlora"])
    parser.add_argument("--lengths", nargs="+", type=int)
    parser.add_argument("--no-store", dest="store", action="store_false")
    parser.add_argument("--way", choices=list(WAYS), help="measure this way alone, here")
    for name in ("--size", "--adapter"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.adapters = options.adapters or (["lora"] if options.quick else ["lora", "qlora"])
    options.lengths = options.lengths or ([4096] if options.quick else [512, 4096])
    if options.quick:
        options.seconds = 10
    if options.tiny:
        options.sizes, options.lengths, options.steps, options.rows = ["tiny"], [32, 64], 3, 60
    return options


def need_device(options: argparse.Namespace) -> None:
    """End with what to do where the device is not there."""
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here: nothing was measured (try --device cpu --tiny)")


def run_cell(
    options: argparse.Namespace, size: str, adapter: str, length: int
) -> dict[str, dict[str, Any]]:
    """Measure every way once, each in a fresh process; a way that fails says so and is left out."""
    found = {}
    for way in options.ways:
        lacking = missing(way, adapter)
        if lacking:
            found[way] = {"rate": None, "why": lacking}
            continue
        command = [sys.executable, __file__, "--way", way, "--size", size, "--adapter", adapter]
        for name in ("seconds", "steps", "rows", "device"):
            command += [f"--{name}", str(getattr(options, name))]
        quiet = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        quiet |= {"CUDA_VISIBLE_DEVICES": "" if options.device == "cpu" else first_device()}
        command += ["--length", str(length)]
        ended = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
        if ended.returncode:
            told = ended.stderr.strip().splitlines() or ["no message"]
            print(ended.stderr[-2000:], file=sys.stderr)
            found[way] = {"rate": None, "why": f"failed: {told[-1][:120]}"}
            continue
        found[way] = json.loads(ended.stdout.splitlines()[-1])
        rate = found[way]["rate"]
        print(f"{size} {adapter} {length} {way}: {rate:.0f} tokens/s", file=sys.stderr)
    return found


def first_device() -> str:
    """Return the device that is measured: one, where there are several."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"


def table(
    found: dict[tuple[str, str, int], dict[str, dict[str, Any]]],
) -> tuple[list[str], dict[str, float]]:
    """Return the lines of a Markdown table, and the ratios by name."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    ratios: dict[str, float] = {}
    for (size, adapter, length), ways in found.items():
        ours = ways.get(OURS, {}).get("rate")
        for way, one in ways.items():
            start = f"| {size} | {adapter} | {length} | {way}"
            if not one["rate"]:
                lines.append(f"{start} | {one['why']} | | | |")
                continue
            times = ours / one["rate"] if ours else float("nan")
            lines.append(
                f"{start} | {one['rate']:.0f} | {times:.2f} | {one['peak_gb']:.1f} "
                f"| {one['mfu']:.0%} |"
            )
            name = f"{size} {adapter} {length}"
            if way == OURS:
                ratios[f"{name}: MFU"] = round(one["mfu"], 3)
            elif ours:
                ratios[f"{name}: vs {way}"] = round(times, 2)
    return lines, ratios


def store(lines: list[str], about: dict[str, Any]) -> None:
    """Add the table to the results, with the device, the versions and the day."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else TITLE
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    told = ", ".join(f"{name} {value}" for name, value in about.items() if value is not None)
    entry = [f"\n## {about['device']}, {day}\n", told + ".\n", *lines]
    RESULTS.write_text(text + "\n".join(entry) + "\n", encoding="utf-8")
    print(f"added to {RESULTS.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
