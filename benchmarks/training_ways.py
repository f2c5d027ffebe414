"""The ways of training that `training.py` compares; each is measured alone in a process."""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH = 16
RANK = 16
WARM = 2
OURS = "tuneline"
WAYS = {
    OURS: "ours, dtype by machine",
    "tuneline fp32": "ours, fp32",
    "trainer fp32 max": "HF Trainer, fp32, padded to the longest row of all",
    "trainer fp32": "HF Trainer, fp32, dynamic padding, grouped by length",
    "trainer bf16": "HF Trainer, bf16 autocast, dynamic padding, grouped by length",
    "trl bf16": "TRL SFTTrainer, bf16 weights",
    "trl bf16 packed": "TRL SFTTrainer, bf16 weights, packed to 1024",
}


def installed() -> list[str]:
    """Return the ways that this environment can take."""
    return [w for w in WAYS if not w.startswith("trl") or importlib.util.find_spec("trl")]


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return tokens a second, peak memory in GB and more of one way."""
    import torch

    torch.manual_seed(0)
    kind = options.way.split()[0]
    run = {OURS: measure_ours, "trainer": measure_trainer, "trl": measure_trl}[kind]
    return {**run(options), "peak_gb": peak_gb()}


def measure_ours(options: argparse.Namespace) -> dict[str, float]:
    """Train with the very loop of the train step."""
    from components.contracts.events import Context, Heard
    from components.contracts.kinds import BaseModelFolder, Tokens
    from components.training.settings import TrainingSettings
    from components.training.train import prepare

    base, tokens = BaseModelFolder.open(options.data / "base"), Tokens.open(options.tokens)
    settings = TrainingSettings(
        per_device_train_batch_size=BATCH,
        lora_r=RANK,
        lora_alpha=2 * RANK,
        num_train_epochs=20,
        bf16=False if "fp32" in options.way else None,
    )
    context = Context(events=Heard(), scratch=Path(tempfile.gettempdir()), root=Path.cwd())
    trainer = prepare(base, tokens, settings, context)
    collate, flat, labels = trainer.collate, 0, 0

    def counted(rows: Any) -> Any:
        nonlocal flat, labels
        inputs = collate(rows)
        flat += inputs.arguments["input_ids"].numel()
        labels += sum(row.trained for row in rows)
        return inputs

    trainer.collate = counted
    trainer.model.train()
    seconds = timed(lambda step: trainer.step(step + 1), options.seconds)
    curve = trainer.progress.curve
    share = flat * linear_flops(trainer.model) + labels * head_flops(trainer.model)
    share *= len(seconds[WARM:]) / len(seconds)
    rate = share / sum(seconds[WARM:])
    ceiling = matmul_rate(trainer.model, flat // len(seconds))
    return {
        "rate": sum(point["tokens"] for point in curve[WARM:]) / sum(seconds[WARM:]),
        "gflops": rate / 1e9,
        "ceiling_gflops": ceiling / 1e9,
        "share": rate / ceiling,
        "loss": curve[-1]["loss"],
    }


def timed(step: Callable[[int], None], limit: float) -> list[float]:
    """Run `step` until `limit` seconds have passed after the warm-up; return seconds a step."""
    seconds: list[float] = []
    while len(seconds) <= WARM or sum(seconds[WARM:]) < limit:
        started = time.perf_counter()
        step(len(seconds))
        seconds.append(time.perf_counter() - started)
    return seconds


def linear_flops(model: Any) -> float:
    """Floating point operations a token of the adapted layers: 4 for W, 6 for A and B.

    Forward and the gradient of the input for the frozen weights, and the weights' own gradient for
    the adapter; attention, norms and gates are not counted.
    """
    frozen = sum(p.numel() for n, p in model.named_parameters() if n.endswith("base_layer.weight"))
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return float(4 * frozen + 6 * adapter)


def head_flops(model: Any) -> float:
    return 4.0 * float(model.get_base_model().get_output_embeddings().weight.numel())


def matmul_rate(model: Any, tokens: int) -> float:
    """Floating point operations a second of plain products with the model's own weights."""
    import torch

    layers = [m.base_layer.weight for m in model.modules() if hasattr(m, "base_layer")]
    flops, best = 4.0 * tokens * sum(int(weight.numel()) for weight in layers), float("inf")
    with torch.no_grad():
        for _ in range(4):
            spent = 0.0
            for weight in layers:
                x = torch.randn(tokens, weight.shape[1]).to(weight.dtype)
                grad = torch.randn(tokens, weight.shape[0]).to(weight.dtype)
                started = time.perf_counter()
                torch.nn.functional.linear(x, weight)
                _ = grad @ weight
                spent += time.perf_counter() - started
            best = min(best, spent)
    return flops / best


def measure_trainer(options: argparse.Namespace) -> dict[str, float]:
    """Train with transformers' Trainer and peft, as their documentation shows it."""
    import torch
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    rows = read(options.tokens)
    longest = max(len(row["input_ids"]) for row in rows) if "max" in options.way else 0
    model = AutoModelForCausalLM.from_pretrained(options.data / "base/model", dtype=torch.float32)
    clock = Clock(options.seconds)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            **common(),
            bf16="bf16" in options.way,
            train_sampling_strategy="random" if longest else "group_by_length",
        )
        trainer = Trainer(
            model=get_peft_model(model, lora()),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            data_collator=clock.counting(lambda some: padded(some, longest)),
            callbacks=[clock.callback()],
        )
        loss = trainer.train().training_loss
    return {"rate": clock.rate(), "loss": loss}


def measure_trl(options: argparse.Namespace) -> dict[str, float]:
    """Train with TRL's SFTTrainer on rows that are tokenised already."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    packed = "packed" in options.way
    folder = options.data / "base/model"
    clock = Clock(options.seconds)
    with tempfile.TemporaryDirectory() as out:
        arguments = common() | {"per_device_train_batch_size": 1 if packed else BATCH}
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16),
            args=SFTConfig(
                output_dir=out, **arguments, bf16=False, packing=packed, max_length=1024,
                gradient_checkpointing=False,
            ),
            train_dataset=Dataset.from_list(read(options.tokens)),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=lora(),
            callbacks=[clock.callback()],
        )  # fmt: skip
        trainer.data_collator = clock.counting(trainer.data_collator)
        loss = trainer.train().training_loss
    return {"rate": clock.rate(), "loss": loss}


class Clock:
    """Counts non-padding tokens batch by batch and the seconds between ends of steps."""

    def __init__(self, seconds: float) -> None:
        self.limit, self.ends, self.tokens = seconds, list[float](), list[int]()

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
                clock.ends.append(time.perf_counter())
                late = len(clock.ends) > WARM and (
                    clock.ends[-1] - clock.ends[WARM - 1] > clock.limit
                )
                control.should_training_stop = late

        return Stop()

    def rate(self) -> float:
        """Tokens a second after the warm-up; batches fetched ahead of their step do not count."""
        tokens = sum(self.tokens[WARM : len(self.ends)])
        return tokens / (self.ends[-1] - self.ends[WARM - 1])


def common() -> dict[str, Any]:
    return {
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 20,
        "learning_rate": 2e-4,
        "save_strategy": "no",
        "logging_steps": 1000,
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
    }


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def padded(rows: list[dict[str, list[int]]], width: int) -> dict[str, Any]:
    import torch

    width = width or max(len(row["input_ids"]) for row in rows)

    def stacked(values: list[list[int]], fill: int) -> Any:
        return torch.tensor([v + [fill] * (width - len(v)) for v in values])

    return {
        "input_ids": stacked([row["input_ids"] for row in rows], 2),
        "attention_mask": stacked([[1] * len(row["input_ids"]) for row in rows], 0),
        "labels": stacked([row["labels"] for row in rows], -100),
    }


def read(tokens: Path) -> list[dict[str, list[int]]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, list[int]]] = pq.read_table(
        tokens / "train.parquet", columns=["input_ids", "labels"]
    ).to_pylist()
    return rows


def peak_gb() -> float:
    """Return the most memory this process held; a child's `ru_maxrss` starts at its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
