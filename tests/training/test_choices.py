"""Choices that change memory or speed and nothing else."""

from typing import Any

import pytest
import torch
from made_families import make_model
from torch.utils._python_dispatch import TorchDispatchMode

import components.training.chunked_loss as chunked
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.model.full import bare
from components.model.head import head_of
from components.training import compiled
from components.training.settings import TrainingSettings
from components.training.train import prepare

STEPS = 5
PATHS: dict[str, dict[str, Any]] = {
    "flat": {},
    "packed": {"packing": True, "packing_length": 90},
    "plain": {"fast": False},
    "top layer": {"lora_top_layers": 1},
    "full": {"finetuning_type": "full", "learning_rate": 1e-3},
    "dropout": {"lora_dropout": 0.1},
    "full in bf16": {"finetuning_type": "full", "learning_rate": 1e-3, "bf16": True},
}


def losses(base: BaseModelFolder, tokens: Tokens, context: Context, **changes: Any) -> list[float]:
    values = {"learning_rate": 1e-2, "warmup_steps": 2, "bf16": False, "max_steps": STEPS}
    values |= {"per_device_train_batch_size": 12, "num_train_epochs": 2}
    trainer = prepare(base, tokens, TrainingSettings(**{**values, **changes}), context)
    return [point["loss"] for point in trainer.run().curve]


@pytest.mark.parametrize("path", PATHS)
def test_gradient_checkpointing_changes_no_loss(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, path: str
) -> None:
    kept = losses(tiny_base, tiny_tokens, context, **PATHS[path])
    again = losses(tiny_base, tiny_tokens, context, gradient_checkpointing=True, **PATHS[path])
    assert again == pytest.approx(kept, abs=1e-2 if "bf16" in path else 1e-6)
    assert again[-1] < again[0]


@pytest.mark.parametrize("checkpointing", [True, False])
def test_checkpointing_keeps_less(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, checkpointing: bool
) -> None:
    settings = TrainingSettings(bf16=False, gradient_checkpointing=checkpointing)
    trainer = prepare(tiny_base, tiny_tokens, settings, context)
    inputs = trainer.collate([trainer.rows[i] for i in range(12)])
    trainer.model.train()
    layer = bare(trainer.model).model.layers[0]
    calls = []
    layer.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    trainer.loss(trainer.model, inputs).backward()
    assert len(calls) == (2 if checkpointing else 1), "computed again in the backward pass"


def test_nothing_flows_below_the_adapted_blocks_when_checkpointing(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    settings = TrainingSettings(bf16=False, gradient_checkpointing=True, lora_top_layers=1)
    trainer = prepare(tiny_base, tiny_tokens, settings, context)
    outputs = []
    trainer.model.train()
    below = bare(trainer.model).model.layers[0]
    below.register_forward_hook(lambda *a: outputs.append(a[-1].requires_grad))
    trainer.loss(trainer.model, trainer.collate([trainer.rows[0]])).backward()
    assert outputs == [False]


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize("family", ["llama", "gemma2", "granite"])
@pytest.mark.parametrize("rows", [1, 7, 20, 64])
@pytest.mark.parametrize("trains_head", [False, True])
def test_chunked_loss_is_the_whole_loss(family: str, rows: int, trains_head: bool) -> None:
    model = make_model(family).requires_grad_(trains_head)
    head = head_of(model)
    weights = [p for p in model.get_output_embeddings().parameters() if p.requires_grad]
    torch.manual_seed(1)
    hidden = torch.randn(41, 64, requires_grad=True)
    targets = torch.randint(0, 259, (41,))
    found: list[list[torch.Tensor]] = []
    for size in (41, rows):
        with Largest() as largest:
            loss = chunked.token_loss(head, hidden, targets, rows=size, trained=weights)
            grads = torch.autograd.grad(3 * loss, [hidden, *weights])
        found.append([loss, *grads])
        if not trains_head:
            assert largest.numbers <= max(min(size, 41) * 259, 41 * 64, 259 * 64)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        measured = chunked.token_loss(head, hidden, targets, rows=rows, trained=weights)
    torch.testing.assert_close(measured, found[0][0].detach(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("path", ["flat", "packed", "full", "full in bf16"])
def test_chunks_change_no_loss_in_training(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    whole = losses(tiny_base, tiny_tokens, context, chunked_nll=False, **PATHS[path])
    monkeypatch.setattr(chunked, "CHUNK", 5 * 259)
    used = []
    forward = chunked.ChunkedLoss.forward
    monkeypatch.setattr(
        chunked.ChunkedLoss, "forward", lambda *a: (used.append(len(a[3])), forward(*a))[1]
    )
    parts = losses(tiny_base, tiny_tokens, context, **PATHS[path])
    assert parts == pytest.approx(whole, abs=1e-2 if "bf16" in path else 1e-5)
    assert used
    assert min(used) > 5


def test_compiling_without_a_compiler_says_so(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    from torch._inductor import config

    nowhere = config.patch({"cpp.cxx": ("no-such-compiler",)})
    with (
        nowhere,
        pytest.raises(ModelError, match=r"needs a C\+\+ compiler .*\n.*torch_compile: false"),
    ):
        losses(tiny_base, tiny_tokens, context, torch_compile=True)


def test_compiling_is_a_fast_path() -> None:
    with pytest.raises(ValueError, match="cannot go with fast: false"):
        TrainingSettings(torch_compile=True, fast=False)


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_plain_path(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    missing = compiled.without_cpp()
    if missing:
        pytest.skip(missing)
    plain = losses(tiny_base, tiny_tokens, context, fast=False)
    found = losses(tiny_base, tiny_tokens, context, torch_compile=True)
    torch.compiler.reset()
    assert found == pytest.approx(plain, abs=1e-4)
