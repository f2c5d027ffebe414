"""Non-padding tokens a second of LoRA training, against HF Trainer and TRL, in one paired run.

Same base model, rows, adapter (r = 16, all linear layers), batch of 16 rows, labels on the answer
only. Every way runs in a process of its own, one after the other, in several rounds; ratios are
those of one round, and the median over rounds is told. Peers get each what makes them fastest here:
dynamic padding grouped by length, bf16, packing (`--help` lists the ways).

    python benchmarks/training.py [--quick] [--data data/sentiment] [--rows tweets|texts]

`--data` is a folder with the artefacts `base` and `tokens` of a recipe (`dvc repro
tokenize@sentiment` makes them). `--rows texts` takes rows of about 130 tokens made of docstrings in
place of the recipe's own. TRL is measured where it is installed.

The last line is a JSON object of ratios: ours to the peer's tokens a second (above 1: ours is
faster), our peak memory to the bf16 Trainer's, and our share of the matrix product rate that is
measured in the same process on the model's own shapes.
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

from training_ways import OURS, WAYS, installed, measure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TEXTS, WORDS = 800, 60
MEMORY_PEER = "trainer bf16"


def main() -> None:
    options = parse()
    if options.way:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        options.tokens = options.data / "tokens"
        if options.rows == "texts":
            options.tokens = make_tokens(options.data, Path(scratch) / "tokens")
        ways = installed()
        rounds = [run_round(ways, options, number) for number in range(options.rounds)]
    tell(ways, rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 12 seconds a way")
    parser.add_argument("--data", type=Path, default=Path("data/sentiment"))
    parser.add_argument("--rows", choices=["tweets", "texts"], default="tweets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--way", choices=list(WAYS), help="measure this way alone, here")
    parser.add_argument("--tokens", type=Path, help="with --way: the rows")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 12
    for name in ("base", "tokens"):
        if not (options.data / name).is_dir():
            parser.error(
                f"{options.data / name} is missing: `dvc repro tokenize@sentiment` makes it"
            )
    return options


def run_round(ways: list[str], options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Measure every way once, each in a fresh process; odd rounds go backwards."""
    found = {}
    for way in ways if number % 2 == 0 else ways[::-1]:
        command = [sys.executable, __file__, "--way", way, "--seconds", str(options.seconds)]
        command += ["--data", str(options.data), "--tokens", str(options.tokens)]
        quiet = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
        if ended.returncode:
            sys.exit(f"{way} failed:\n{ended.stderr}")
        found[way] = json.loads(ended.stdout.splitlines()[-1])
        print(f"round {number + 1}: {way}: {found[way]['rate']:.0f} tokens/s", file=sys.stderr)
    return found


def make_tokens(data: Path, out: Path) -> Path:
    """Write a tokens artefact of a task, a text of about 100 tokens and a label word."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from made_text import docstrings
    from transformers import AutoTokenizer

    from components.contracts.kinds import Tokens

    tokenizer = AutoTokenizer.from_pretrained(data / "base/model")
    words = " ".join(docstrings()).split()
    task = {"role": "system", "content": "What is this about? Answer with one word: code or data."}
    rows = []
    for number in range(TEXTS):
        text = " ".join(words[number * WORDS : (number + 1) * WORDS])
        prompt = tokenizer.apply_chat_template(
            [task, {"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = tokenizer("code<|im_end|>", add_special_tokens=False)["input_ids"]
        rows.append({"input_ids": ids + answer, "labels": [-100] * len(ids) + answer})
    table = pa.table(
        {name: pa.array([row[name] for row in rows], pa.list_(pa.int32())) for name in rows[0]}
        | {"length": pa.array([len(row["input_ids"]) for row in rows], pa.int32())}
    )
    with Tokens.write(out) as draft:
        for split in ("train", "validation"):
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = Tokens.open(data / "tokens").facts
    return out


def tell(ways: list[str], rounds: list[dict[str, Any]]) -> None:
    """Print a table of medians, and the ratios as JSON."""
    print(f"{'way':18} {'tokens/s':>9} {'ours, times':>12} {'peak GB':>8}")
    ratios: dict[str, float] = {}
    for way in ways:
        rate = statistics.median(one[way]["rate"] for one in rounds)
        times = statistics.median(one[OURS]["rate"] / one[way]["rate"] for one in rounds)
        peak = max(one[way]["peak_gb"] for one in rounds)
        print(f"{way:18} {rate:9.0f} {times:12.2f} {peak:8.2f}  {WAYS[way]}")
        if way != OURS:
            ratios[way] = round(times, 2)
    peaks = (statistics.median(one[w]["peak_gb"] for one in rounds) for w in (OURS, MEMORY_PEER))
    ours, peer = peaks
    share = statistics.median(one[OURS]["share"] for one in rounds)
    best = rounds[0][OURS]
    print(f"ours: {best['gflops']:.0f} of {best['ceiling_gflops']:.0f} GFLOP/s: {share:.0%}")
    trl = [ratios[way] for way in ways if way.startswith("trl")]
    ratios |= {"trl, faster way": min(trl)} if trl else {}
    print(json.dumps(ratios | {"peak memory": round(ours / peer, 2), "share": round(share, 2)}))


if __name__ == "__main__":
    main()
