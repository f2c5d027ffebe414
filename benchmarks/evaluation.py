"""Items a second of choice and generation tasks, against lm-eval's hf backend, in one paired run.

Both sides run the same lm-eval task over the same rows with the same model in fp32 on the same
threads; ours reads and writes through `components.scoring.harness`. Batch size of lm-eval: 8.

    python benchmarks/evaluation.py [--quick] [--model FOLDER] [--threads N] [--items N]

Without a folder the model is `data/sentiment/base/model` if it is there, else one of random weights
of the same shape. The last line is a JSON object of ratios: ours to the peer, above 1 where ours is
faster.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_text import docstrings

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SHOTS = 3
TASKS = ("choices", "answers", "few_shot")
TRAINED = ROOT / "data" / "sentiment" / "base" / "model"
SHAPE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
}


def passages(count: int, words: int) -> list[str]:
    """Return `count` passages of about `words` words, all different."""
    found = [" ".join(text.split()[:words]) for text in docstrings() if len(text.split()) > 20]
    random.Random(0).shuffle(found)
    return found[:count]


def write_tasks(folder: Path, count: int) -> None:
    """Write a task of four choices of several words, and two of free answers: as they are, and
    with the same `SHOTS` examples before each.
    """
    from tiny_harness import write_task

    rng = random.Random(1)
    texts = passages(count, 80)
    rows = []
    for text in texts:
        words = text.split()
        ends = [" ".join(rng.sample(words, 5)) for _ in range(4)]
        rows.append({"question": text, "choices": ends, "gold": rng.randrange(4)})
    write_task(
        folder,
        "choices",
        rows,
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="choices",
        doc_to_target="gold",
        metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}],
    )
    asked = [{"question": text, "answer": text.split()[0]} for text in texts[: count // 2]]
    shown = "".join(f"{text}\nSummary: {text.split()[0]}\n\n" for text in texts[-SHOTS:])
    for name, before in (("answers", ""), ("few_shot", shown)):
        rows = [{**row, "before": before} for row in asked]
        write_task(
            folder,
            name,
            rows,
            output_type="generate_until",
            doc_to_text="{{before}}{{question}}\nSummary:",
            doc_to_target="answer",
            generation_kwargs={"until": ["\n\n"], "max_gen_toks": 32, "do_sample": False},
            metric_list=[{"metric": "exact_match"}],
        )


def peer(model: Any, tokenizer: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=8)


def ours(model: Any, folder: Path) -> Any:
    from components.model.torch_lm import TorchLM
    from components.scoring.harness import HarnessLM
    from components.scoring.voice import load_voice

    voice = load_voice(folder)
    prefix = voice.tokenizer.bos_token_id
    prefix = voice.tokenizer.eos_token_id if prefix is None else prefix
    length = int(model.config.max_position_embeddings)
    return HarnessLM(TorchLM(model), voice, prefix_token=prefix, max_length=length)


def timed(lm: Any, tasks: Path, name: str) -> tuple[float, dict[str, float], list[Any]]:
    """Return items a second, the figures of one task, and what was answered."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    start = time.perf_counter()
    found = simple_evaluate(model=lm, tasks=[name], task_manager=manager, bootstrap_iters=0)
    seconds = time.perf_counter() - start
    figures = {
        key: value
        for key, value in found["results"][name].items()
        if key.endswith(",none") and isinstance(value, float)
    }
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return len(samples) / seconds, figures, [sample["filtered_resps"] for sample in samples]


def compare(name: str, sides: dict[str, Callable[[], Any]], tasks: Path, rounds: int) -> float:
    """Time both sides in turn; print each; return the median ratio of ours to the peer."""
    ratios = []
    for number in range(rounds):
        speeds, figures, answers = {}, {}, {}
        for side, load in sides.items():
            speeds[side], figures[side], answers[side] = timed(load(), tasks, name)
            told = ", ".join(f"{key} {value:.4f}" for key, value in figures[side].items())
            print(f"{name:8} round {number + 1} {side:9} {speeds[side]:8.2f} items/s  {told}")
        if name == "choices" and figures["tuneline"] != figures["lm-eval"]:
            raise SystemExit("the two sides do not have the same figures: this is no comparison")
        if name != "choices":
            same = [a == b for a, b in zip(*answers.values(), strict=True)]
            print(f"{name:8} round {number + 1} the same text: {sum(same)} of {len(same)}")
        ratios.append(speeds["tuneline"] / speeds["lm-eval"])
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes")
    parser.add_argument("--model", type=Path, help="a transformers model folder")
    parser.add_argument("--items", type=int, help="items of the choice task, half for answers")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    options = parser.parse_args()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = options.model or (TRAINED if TRAINED.is_dir() else Path(place) / "model")
        if not folder.exists():
            from tiny_harness import make_model

            make_model(folder, **SHAPE)
        tasks = Path(place) / "tasks"
        tasks.mkdir()
        write_tasks(tasks, options.items or (48 if options.quick else 160))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        # The peer first, and on the same weights; torch's default fp32 products for both.
        sides = {"lm-eval": lambda: peer(model, tokenizer), "tuneline": lambda: ours(model, folder)}
        rounds = 1 if options.quick else 3
        ratios = {name: compare(name, sides, tasks, rounds) for name in TASKS}
    print(f"model {folder.name}, {torch.get_num_threads()} threads")
    print(json.dumps({f"{name}_items_per_s": round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
