"""The first losses of fixed runs of a tiny model, kept by platform to be compared with today's.

A curve hangs on the code, the seed and, by rounding alone, on the machine: processor family,
torch's minor version, and for bf16 the instructions that multiply it. Inputs are made here from
seeds, by nothing that a change of torch could change.
"""

import json
import platform
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED, tokens_schema
from components.sources.fetch import fetch
from components.sources.settings import RandomModel
from components.training.settings import TrainingSettings
from components.training.train import prepare

FOLDER = Path(__file__).parent / "curves"
RENEW = "make golden"
STEPS = 50
EOS = 2

COMMON: dict[str, Any] = {
    "seed": 0,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 5,
    "per_device_train_batch_size": 6,
    "num_train_epochs": 10,
    "max_steps": STEPS,
}


@dataclass(frozen=True)
class Case:
    """A run: the rows it learns from, what is set, and how far a curve may be off (nats).

    fp32: 1e-4. Ways that differ by rounding alone (fast and plain paths, one thread and two) were
    1.3e-6 apart at most over these 50 steps; the smallest change that must be seen, a weight decay
    of 0.01, moves the curve by 6e-4. bf16 has 8 bits of mantissa: the fast and the plain path were
    0.013 apart, so 0.05 finds a wrong seed, schedule or scale there, but not a small one.
    """

    rows: Callable[[int], dict[str, Any]]
    changes: dict[str, Any]
    tolerance: float = 1e-4


def answers(index: int) -> dict[str, Any]:
    """A prompt whose last token tells the answer; a tenth of the answers are wrong."""
    rng = random.Random(f"answers/{index}")
    prompt = [1, 40, 41, *(rng.randrange(10, 200) for _ in range(rng.randrange(3, 14)))]
    target = 70 + (index + (rng.random() < 0.1)) % 2
    return row(index, [*prompt, 60 + index % 2], [target, EOS])


def text(index: int) -> dict[str, Any]:
    """A text without a prompt: each token mostly follows from the one before."""
    rng = random.Random(f"text/{index}")
    ids = [rng.randrange(10, 40)]
    for _ in range(rng.randrange(8, 24)):
        ids.append(10 + (3 * ids[-1] + (rng.random() < 0.2)) % 30)
    return row(index, [], [*ids, EOS])


def preferred(index: int) -> dict[str, Any]:
    """A prompt with an answer and one that is rejected."""
    found = answers(index)
    found["rejected_ids"] = [141 - found["answer_ids"][0], EOS]
    return found


def row(index: int, prompt: list[int], answer: list[int]) -> dict[str, Any]:
    """Return a row of the tokens table."""
    return {
        "id": str(index),
        "input_ids": prompt + answer,
        "labels": [IGNORED] * len(prompt) + answer,
        "length": len(prompt) + len(answer),
        "prompt_tokens": len(prompt),
        "answer_ids": answer,
        "choice_ids": [],
        "target": -1,
        "text_ids": prompt + answer,
        "text_bytes": 2 * len(prompt + answer),
        "trained_tokens": len(answer),
        "truncated_tokens": 0,
        "eos_trained": True,
        "bos_doubled": False,
    }


CASES: dict[str, Case] = {
    "lora-fp32": Case(answers, {"bf16": False}),
    "lora-bf16": Case(answers, {"bf16": True}, tolerance=0.05),
    "packed-fp32": Case(answers, {"bf16": False, "packing": True, "packing_length": 96}),
    "text-fp32": Case(text, {"bf16": False}),
    "dpo-fp32": Case(
        preferred, {"bf16": False, "loss_type": "sigmoid", "beta": 0.1, "learning_rate": 1e-3}
    ),
    "full-fp32": Case(answers, {"bf16": False, "finetuning_type": "full", "learning_rate": 2e-4}),
}


def machine() -> str:
    """Return the platform that a curve belongs to, such as x86_64-cpu-torch2.13."""
    import torch

    version = ".".join(torch.__version__.split(".")[:2])
    return f"{platform.machine()}-{device()}-torch{version}"


def device() -> str:
    """Return `cpu`, or the capability of the GPU that training would take (sm90: Hopper)."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return "sm{}{}".format(*torch.cuda.get_device_capability())


def arithmetic(case: str) -> str | None:
    """Return the instructions that a bf16 case is multiplied by; `None` if there are none here."""
    import torch

    from components.model.device import fast_dtype, pick_device

    if not CASES[case].changes.get("bf16"):
        return "fp32"
    if fast_dtype(pick_device()) != torch.bfloat16:
        return None
    if torch.cuda.is_available():
        return "tensor cores"
    return "amx" if torch.cpu._is_amx_tile_supported() else "avx512_bf16"


def kept() -> Path:
    """Return the file that holds this platform's curves."""
    return FOLDER / f"{machine()}.json"


def read() -> dict[str, list[float]]:
    """Return the kept curves of this platform by name (see `name_of`); none if it is new."""
    if not kept().is_file():
        return {}
    curves: dict[str, list[float]] = json.loads(kept().read_text(encoding="utf-8"))
    return curves


def name_of(case: str) -> str | None:
    """Return the name a case's curve is kept under; `None` where the machine cannot run it."""
    how = arithmetic(case)
    return None if how is None else case if how == "fp32" else f"{case} ({how})"


def made(folder: Path) -> dict[str, Any]:
    """Make the base model and every kind of rows below `folder`."""
    random_model = RandomModel(kind="random", seed=11)
    base = fetch(random_model, out=folder / "base", context=Context(folder, folder))
    return {"base": base} | {
        make.__name__: write_tokens(folder / make.__name__, make)
        for make in {case.rows for case in CASES.values()}
    }


def write_tokens(out: Path, make: Callable[[int], dict[str, Any]]) -> Tokens:
    """Write a tokens artefact of rows made by `make`."""
    with Tokens.write(out) as draft:
        for split, places in {"train": range(72), "validation": range(72, 80)}.items():
            table = pa.Table.from_pylist([make(i) for i in places], schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": EOS}
    return Tokens.open(out)


def run(inputs: dict[str, Any], case: str, scratch: Path, **changes: Any) -> list[float]:
    """Return the losses of the first `STEPS` steps of a case, in nats a trained token (or pair)."""
    chosen = CASES[case]
    settings = TrainingSettings(**{**COMMON, **chosen.changes, **changes})
    base: BaseModelFolder = inputs["base"]
    heard = Heard()
    context = Context(root=scratch, scratch=scratch, events=heard)
    prepare(base, inputs[chosen.rows.__name__], settings, context).run()
    return [values["loss"] for _, values in heard.curve if "loss" in values]


def distance(one: list[float], other: list[float]) -> float:
    """Return the largest difference of two curves at any step; infinite if not equally long."""
    if len(one) != len(other):
        return float("inf")
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
