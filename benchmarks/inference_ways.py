"""The ways of reading and writing that `inference.py` compares; each alone in a process."""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROMPT, START, NEW = 512, 64, 128
ANSWERS, ANSWER = 32, 32
VARIANTS = ("fp32", "int8", "int4")
TORCH = {"torch fp32": "float32", "torch bf16": "bfloat16"}
LLAMA = {"llama.cpp f32": "f32", "llama.cpp Q8_0": "Q8_0", "llama.cpp Q4_0": "Q4_0",
         "llama.cpp Q4_K": "Q4_K_M"}  # fmt: skip


def installed(onnx: Path) -> list[str]:
    """Return the ways that this environment and these files can take."""
    ours = [f"tuneline {name}" for name in VARIANTS if (onnx / name).is_dir()]
    llama = list(LLAMA) if importlib.util.find_spec("llama_cpp") else []
    return [*ours, *TORCH, *llama]


def merged_model(data: Path, scratch: Path) -> Path:
    """Write the tuned model in fp32 with its tokenizer, once for all peers."""
    from components.contracts.kinds import Adapter, BaseModelFolder
    from components.export.export import merge

    merge(BaseModelFolder.open(data / "base"), Adapter.open(data / "adapter"), scratch / "merged")
    return scratch / "merged"


def write_prompts(merged: Path, file: Path) -> None:
    """Write a text of `PROMPT` tokens and `ANSWERS` beginnings of 20 to 60 tokens, as token ids."""
    from made_text import docstrings
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(merged / "tokenizer.json"))
    ids = [tokenizer.encode(t, add_special_tokens=False).ids for t in docstrings()[:2000]]
    joined = [token for one in ids for token in one][:PROMPT]
    long = [one for one in ids if len(one) > 60][:ANSWERS]
    starts = [one[: 20 + 40 * place // ANSWERS] for place, one in enumerate(long)]
    file.write_text(json.dumps([joined, starts]), encoding="utf-8")


def prompts(options: argparse.Namespace) -> tuple[list[int], list[list[int]]]:
    """Return the text and the beginnings that `write_prompts` wrote."""
    text, starts = json.loads(options.prompts.read_text(encoding="utf-8"))
    return text, starts


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return tokens a second of `prefill` and `decode`; for ours answers a second too."""
    import torch

    torch.set_num_threads(options.threads)
    kind = options.way.split()[0]
    run = {"tuneline": measure_ours, "torch": measure_torch, "llama.cpp": measure_llama}[kind]
    found: dict[str, float] = run(options)
    return found


def fastest(run: Callable[[], float], repeat: int) -> float:
    """Return the fewest seconds of `repeat` runs, after one to warm up."""
    run()
    return min(run() for _ in range(repeat))


def clocked(work: Callable[[], Any]) -> Callable[[], float]:
    """Return `work` as a function that returns its seconds."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def measure_ours(options: argparse.Namespace) -> dict[str, float]:
    """Generate as `tuneline generate` and `tuneline batch-predict` do."""
    from components.runtime.batch import generate_batch
    from components.runtime.generate import Generation, generate
    from components.runtime.ort import OrtLM

    lm = OrtLM(options.onnx / options.way.split()[1], threads=options.threads)
    text, starts = prompts(options)

    def decode() -> float:
        tokens = generate(lm, text[:START], Generation(max_new_tokens=NEW + 1))
        next(tokens)
        return clocked(lambda: list(tokens))()

    def answer(batch_size: int, count: int) -> float:
        how = Generation(max_new_tokens=ANSWER)
        said = generate_batch(lm, starts[:count], how, batch_size=batch_size)
        return count / clocked(lambda: list(said))()

    return {
        "prefill": PROMPT / fastest(clocked(lambda: lm.begin((), [text], 1)), options.repeat),
        "decode": NEW / fastest(decode, options.repeat),
        "batch16": max(answer(16, ANSWERS) for _ in range(2)),
        "batch1": max(answer(1, ANSWERS // 2) for _ in range(2)),
    }


def measure_torch(options: argparse.Namespace) -> dict[str, float]:
    """Generate as transformers does: its cache, logits of the last token only."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, TORCH[options.way])
    model = AutoModelForCausalLM.from_pretrained(options.merged, dtype=dtype).eval()
    text, _ = prompts(options)
    ids = torch.tensor([text])

    def write(new: int) -> None:
        start = ids[:, :START]
        model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=False,
            max_new_tokens=new, min_new_tokens=new, pad_token_id=0,
        )  # fmt: skip

    with torch.inference_mode():
        read = fastest(
            clocked(lambda: model(ids, use_cache=True, logits_to_keep=1)), options.repeat
        )
        first = fastest(clocked(lambda: write(1)), options.repeat)
        whole = fastest(clocked(lambda: write(NEW + 1)), max(2, options.repeat // 2))
    return {"prefill": PROMPT / read, "decode": NEW / (whole - first)}


def measure_llama(options: argparse.Namespace) -> dict[str, float]:
    """Generate through llama.cpp's own C interface, without its Python wrapper's copies."""
    import llama_cpp as cpp
    import numpy as np

    file = options.gguf / f"{LLAMA[options.way]}.gguf"
    llm = cpp.Llama(
        str(file), n_ctx=1024, n_batch=PROMPT, n_ubatch=PROMPT, n_threads=options.threads,
        n_threads_batch=options.threads, verbose=False,
    )  # fmt: skip
    text, _ = prompts(options)
    context, words = llm.ctx, llm.n_vocab()

    def read(tokens: Sequence[int]) -> int:
        held = (cpp.llama_token * len(tokens))(*tokens)
        if cpp.llama_decode(context, cpp.llama_batch_get_one(held, len(tokens))):
            raise RuntimeError("llama_decode failed")
        logits = np.ctypeslib.as_array(cpp.llama_get_logits_ith(context, -1), shape=(words,))
        return int(logits.argmax())

    def forget() -> None:
        cpp.llama_memory_clear(cpp.llama_get_memory(context), True)

    def prefill() -> float:
        forget()
        return clocked(lambda: read(text))()

    def decode() -> float:
        forget()
        token = read(text[:START])
        started = time.perf_counter()
        for _ in range(NEW):
            token = read([token])
        return time.perf_counter() - started

    return {
        "prefill": PROMPT / fastest(prefill, options.repeat),
        "decode": NEW / fastest(decode, options.repeat),
    }
