"""What the fast paths keep from the forward pass for the backward pass, counted in numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from components.contracts.kinds import BaseModelFolder
from components.model.adapter import attach_adapter
from components.model.base import load_base
from components.model.settings import LoraSettings
from components.model.shared_prefix import use_shared_prefix_attention
from components.training.collate import share_prefix
from components.training.fused_attention import fuse_attention
from components.training.fused_layers import fuse_layers
from components.training.fused_lora import fuse_lora
from components.training.loss import answer_loss
from components.training.remade import can_be_remade, source_of
from components.training.rows import Row

CPU = torch.device("cpu")
LENGTH, RANK = 24, 4


@pytest.fixture
def model(tiny_base: BaseModelFolder) -> Any:
    base = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    return attach_adapter(base, LoraSettings(lora_r=RANK)).train()


def rows(count: int) -> list[Row]:
    """Return rows of one length that begin differently, with one label each."""
    ids = [np.array([2 + at, *range(5, 4 + LENGTH)]) for at in range(count)]
    return [Row(one, np.array([-100] * (LENGTH - 1) + [7])) for one in ids]


def kept(model: Any, count: int) -> int:
    """Return how many numbers are kept for the backward pass of so many rows, weights aside."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        answer_loss(model.get_base_model(), share_prefix(rows(count), CPU))
    storages = [t.untyped_storage() for at, t in found.items() if at not in weights]
    return sum(storage.nbytes() for storage in storages) // 4


def a_row(model: Any) -> int:
    """Return how many numbers one more row adds."""
    return (kept(model, 12) - kept(model, 4)) // 8


def test_a_block_keeps_its_residuals_heads_weights_gates_and_little_else(model: Any) -> None:
    base = model.get_base_model()
    stacks = fuse_lora(model)
    fuse_layers(base, stacks)
    use_shared_prefix_attention(base)
    fuse_attention(base, stacks)
    config = base.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    width = config.hidden_size // heads
    residuals, gates = 2 * config.hidden_size, 2 * config.intermediate_size
    attention = (2 * heads + 2 * groups) * width + heads * LENGTH
    low_rank = 7 * RANK
    token = residuals + gates + attention + low_rank
    assert a_row(model) == pytest.approx(config.num_hidden_layers * LENGTH * token, rel=0.1)


def test_it_is_a_quarter_less_than_autograd_keeps(model: Any) -> None:
    base = model.get_base_model()
    use_shared_prefix_attention(base)
    plain = a_row(model)
    stacks = fuse_lora(model)
    fuse_layers(base, stacks)
    fuse_attention(base, stacks)
    assert a_row(model) < 0.75 * plain


def test_parts_are_kept_in_place_of_what_they_make() -> None:
    x = torch.randn(3, requires_grad=True)
    twice = can_be_remade(x * 2, torch.add, x, x)
    make, parts = source_of(twice)
    assert torch.equal(make(*parts), twice)
    assert parts[0].data_ptr() == x.data_ptr()
    assert not parts[0].requires_grad
    make, parts = source_of(twice[:2])
    assert parts[0].data_ptr() == twice.data_ptr(), "a view of it is kept itself"
    assert torch.equal(make(*parts), twice[:2])
