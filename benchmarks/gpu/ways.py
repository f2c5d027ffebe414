"""The ways of training that `run.py` compares, each measured alone in a process.

All train the same random model on the same rows of token ids: documents of an eighth of `length` to
`length` tokens, all of them learned. A micro-batch holds about `TOKENS` tokens in every way.
"""

import argparse
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

RANK = 16
WARM = 3
OURS, TRAINER, TRL = "tuneline", "trainer", "trl"
WAYS = {
    OURS: "ours, packed",
    TRAINER: "HF Trainer + peft, dynamic padding, grouped by length",
    TRL: "TRL SFTTrainer, packed",
}
WIDE = {"vocab_size": 128256, "num_attention_heads": 32, "num_key_value_heads": 8}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "1b": WIDE | {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "8b": WIDE | {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "head_dim": 128,
        "tie_word_embeddings": False,
    },
}  # fmt: skip
"""Shapes of Llama 3.2 1B and Llama 3.1 8B, with random weights."""

TOKENS = {"tiny": 256, "1b": 8192, "8b": 8192}
CHECKPOINTED = {"8b"}
"""Sizes whose activations are computed again in the backward pass, in every way."""


def missing(way: str, adapter: str) -> str | None:
    """Return what a way lacks here, if anything."""
    needed = {TRL: ["trl", "datasets"]}.get(way, [])
    needed += ["bitsandbytes"] if adapter == "qlora" else []
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"{' and '.join(lacking)} not installed" if lacking else None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return tokens a second, peak memory in GB, FLOP/s and the machine's ceiling of one way."""
    import torch

    from components.model.capability import capability

    torch.manual_seed(0)
    cuda = torch.cuda.is_available()
    ceiling = matmul_rate(cuda)
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run = {OURS: measure_ours, TRAINER: measure_trainer, TRL: measure_trl}[options.way]
    found = run(options)
    peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    flops = found["rate"] * options.flops_a_token
    return found | {
        "peak_gb": peak,
        "tflops": flops / 1e12,
        "ceiling_tflops": ceiling / 1e12,
        "mfu": flops / ceiling,
        "about": capability(),
    }


def matmul_rate(cuda: bool) -> float:
    """Return the FLOP/s of the best of some large square bf16 products (on CPU small fp32 ones)."""
    import torch

    size, dtype = (8192, torch.bfloat16) if cuda else (512, torch.float32)
    a, b = (torch.randn(size, size, device="cuda" if cuda else "cpu").to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(30 if cuda else 3):
        wait()
        started = time.perf_counter()
        torch.matmul(a, b)
        wait()
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best


def wait() -> None:
    """Wait until the device has done all it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def build(options: argparse.Namespace, dtype: Any, device: Any) -> Any:
    """Return the random model of a size, on `device`, its linear layers in NF4 for QLoRA.

    It is made where it is to be: an 8B model would take minutes to go over a disk.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama", **SIZES[options.size], max_position_embeddings=8192, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.config.use_cache = False
    if options.adapter == "qlora":
        quantise(model, dtype, device)
    count(options, model)
    return model


def quantise(model: Any, dtype: Any, device: Any) -> None:
    """Put NF4 layers in the place of all linear ones but the head, one after the other."""
    import bitsandbytes as bnb
    import torch

    from components.model.quantized import keep_layers_trainable

    head = model.get_output_embeddings()
    for name, layer in list(model.named_modules()):
        if type(layer) is not torch.nn.Linear or layer is head:
            continue
        small = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, bias=False, compute_dtype=dtype,
            quant_type="nf4", compress_statistics=True, device="meta",
        )  # fmt: skip
        weight = bnb.nn.Params4bit(
            layer.weight.detach().cpu(), requires_grad=False, quant_type="nf4",
            compress_statistics=True,
        )  # fmt: skip
        small.weight = weight.to(device)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, small)
        layer.weight = None
    model.is_loaded_in_4bit = True
    keep_layers_trainable(model)


def count(options: argparse.Namespace, model: Any) -> None:
    """Note the FLOPs a token: 4 a frozen weight, 6 one of the adapter, 4 one of the head.

    Forward and the gradient of the input for the frozen weights, and the weights' own for the
    adapter. Attention and what checkpointing computes again are not counted, in any way.
    """
    shape = SIZES[options.size]
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    linear = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)]
    linear += [(hidden, inner), (hidden, inner), (inner, hidden)]
    frozen = sum(a * b for a, b in linear) * shape["num_hidden_layers"]
    adapter = sum(RANK * (a + b) for a, b in linear) * shape["num_hidden_layers"]
    options.flops_a_token = 4 * frozen + 6 * adapter + 4 * hidden * shape["vocab_size"]


def documents(options: argparse.Namespace) -> list[list[int]]:
    """Return the rows: ids of 3 … vocabulary, the same for every way."""
    rng = random.Random(0)
    top = SIZES[options.size]["vocab_size"]
    lengths = [rng.randrange(options.length // 8, options.length + 1) for _ in range(options.rows)]
    return [[rng.randrange(3, top) for _ in range(length)] for length in lengths]


def measure_ours(options: argparse.Namespace) -> dict[str, Any]:
    """Train with the very loop of the train step."""
    from components.contracts.events import Context, Heard
    from components.contracts.kinds import BaseModelFolder
    from components.training.settings import TrainingSettings
    from components.training.train import prepare

    settings = TrainingSettings(
        packing=True,
        packing_length=TOKENS[options.size],
        lora_r=RANK,
        lora_alpha=2 * RANK,
        num_train_epochs=100,
        gradient_checkpointing=options.size in CHECKPOINTED,
        load_in_4bit=options.adapter == "qlora",
        bf16=options.device != "cpu" or None,
    )
    with tempfile.TemporaryDirectory() as folder:
        tokens = write_tokens(documents(options), Path(folder) / "tokens")
        base = BaseModelFolder(Path(folder), {"title": options.size}, {})
        context = Context(Path(folder), Path(folder), Heard())

        def load(_: Path, dtype: Any, device: Any, quantized: Any) -> Any:
            return build(options, dtype, device)

        trainer = prepare(base, tokens, settings, context, load)
        trainer.model.train()
        seconds = timed(lambda step: trainer.step(step + 1), options)
    curve = trainer.progress.curve[WARM:]
    return {
        "rate": sum(point["tokens"] for point in curve) / sum(seconds),
        "loss": curve[0]["loss"],
    }


def timed(step: Callable[[int], None], options: argparse.Namespace) -> list[float]:
    """Run `step` until time or steps are up; return the seconds of each after the warm-up."""
    seconds: list[float] = []
    number = 0
    while number < WARM or (sum(seconds) < options.seconds and len(seconds) < options.steps):
        wait()
        started = time.perf_counter()
        step(number)
        wait()
        if number >= WARM:
            seconds.append(time.perf_counter() - started)
        number += 1
    return seconds


def write_tokens(rows: list[list[int]], out: Path) -> Any:
    """Write a tokens artefact in which every token is learned."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from components.contracts.kinds import Tokens

    ids = pa.array(rows, pa.list_(pa.int32()))
    lengths = pa.array([len(row) for row in rows], pa.int32())
    table = pa.table({"input_ids": ids, "labels": ids, "length": lengths})
    with Tokens.write(out) as draft:
        for split in ("train", "validation"):
            part = table if split == "train" else table.slice(0, 1)
            pq.write_table(part, draft.folder / f"{split}.parquet")
        draft.facts = {}
    return Tokens.open(out)


def measure_trainer(options: argparse.Namespace) -> dict[str, Any]:
    """Train with transformers' Trainer and peft, as their documentation shows it."""
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    model = get_peft_model(base_of(options), lora())
    if options.size in CHECKPOINTED:
        model.enable_input_require_grads()
    rows = [{"input_ids": row, "labels": row} for row in documents(options)]
    clock = Clock(options)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            **common(options),
            per_device_train_batch_size=rows_a_batch(options),
            train_sampling_strategy="group_by_length",
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=clock.counting(padded),
            callbacks=[clock.callback()],
        )
        loss = trainer.train().training_loss
    return {"rate": clock.rate(), "loss": loss}


def measure_trl(options: argparse.Namespace) -> dict[str, Any]:
    """Train with TRL's SFTTrainer, packed, on rows that are tokenised already."""
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    clock = Clock(options)
    flash = importlib.util.find_spec("flash_attn") is not None
    model = base_of(options)
    if flash:  # without it TRL's packed rows see each other; with it they do not
        model.set_attn_implementation("flash_attention_2")
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=out,
                **common(options),
                per_device_train_batch_size=max(1, TOKENS[options.size] // options.length),
                packing=True,
                max_length=options.length,
            ),
            train_dataset=Dataset.from_list([{"input_ids": row} for row in documents(options)]),
            processing_class=tokenizer(),
            peft_config=lora(),
            callbacks=[clock.callback()],
        )
        trainer.data_collator = clock.counting(trainer.data_collator)
        loss = trainer.train().training_loss
    return {"rate": clock.rate(), "loss": loss, "flash_attn": flash}


def base_of(options: argparse.Namespace) -> Any:
    """Return the model as the peers get it: bf16 on a GPU, fp32 on CPU."""
    import torch

    cuda = options.device != "cpu"
    dtype = torch.bfloat16 if cuda else torch.float32
    return build(options, dtype, torch.device("cuda" if cuda else "cpu"))


def rows_a_batch(options: argparse.Namespace) -> int:
    """Return how many rows hold about `TOKENS`: a row is 9/16 of the length long on average."""
    return max(1, round(TOKENS[options.size] / (options.length * 9 / 16)))


def common(options: argparse.Namespace) -> dict[str, Any]:
    """Return what both peers are told."""
    cuda = options.device != "cpu"
    return {
        "num_train_epochs": 100,
        "learning_rate": 2e-4,
        "save_strategy": "no",
        "logging_steps": 1000,
        "use_cpu": not cuda,
        "bf16": cuda,
        "disable_tqdm": True,
        "seed": 0,
        "gradient_checkpointing": options.size in CHECKPOINTED,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "remove_unused_columns": False,
    }


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def tokenizer() -> Any:
    """Return a tokenizer that TRL is content with; no text goes through it."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {word: at for at, word in enumerate(("<unk>", "<s>", "</s>"))}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
    )


def padded(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    """Stack rows, padded on the right to the longest."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)

    def stacked(fill: int) -> Any:
        return torch.tensor([r["input_ids"] + [fill] * (width - len(r["input_ids"])) for r in rows])

    mask = [[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows]
    return {
        "input_ids": stacked(2),
        "attention_mask": torch.tensor(mask),
        "labels": stacked(-100),
    }


class Clock:
    """Counts tokens batch by batch and the seconds between ends of steps."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ends: list[float] = []
        self.tokens: list[int] = []

    def counting(self, collate: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def counted(rows: Any) -> Any:
            self.tokens.append(sum(len(row["input_ids"]) for row in rows))
            return collate(rows)

        return counted

    def callback(self) -> Any:
        from transformers import TrainerCallback

        clock = self

        class Stop(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                wait()
                clock.ends.append(time.perf_counter())
                control.should_training_stop = clock.over()

        return Stop()

    def over(self) -> bool:
        """Say whether time or steps after the warm-up are up."""
        measured = len(self.ends) - WARM
        spent = self.ends[-1] - self.ends[WARM - 1] if measured > 0 else 0.0
        return measured >= self.options.steps or (measured > 0 and spent > self.options.seconds)

    def rate(self) -> float:
        """Tokens a second after the warm-up; batches fetched ahead of their step do not count."""
        tokens = sum(self.tokens[WARM : len(self.ends)])
        return tokens / (self.ends[-1] - self.ends[WARM - 1])
