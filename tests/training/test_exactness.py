"""The fast paths give what the plain ones give."""

from typing import Any

import numpy as np
import pytest
import torch

from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.model.adapter import attach_adapter
from components.model.base import load_base
from components.model.settings import LoraSettings
from components.model.shared_prefix import use_shared_prefix_attention
from components.training.collate import pack, pad, share_prefix, shared_length
from components.training.fused_attention import fuse_attention
from components.training.fused_layers import FrozenRmsNorm, SiluGate, fuse_layers
from components.training.fused_lora import fuse_lora
from components.training.loss import answer_loss, reference_loss
from components.training.rows import Row, read_rows

CPU = torch.device("cpu")


def adapted(base: BaseModelFolder, settings: LoraSettings | None = None) -> Any:
    """Return an fp32 model with an adapter whose B is not zero, the same every time."""
    model = load_base(base.model, dtype=torch.float32, device=CPU)
    torch.manual_seed(3)
    tuned = attach_adapter(model, settings or LoraSettings())
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return tuned.train()


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def rows(tiny_tokens: Tokens) -> list[Row]:
    return read_rows(tiny_tokens.split("train"), 9)


def same_loss_and_gradients(plain: Any, fused: Any, rows: list[Row]) -> None:
    inputs = pad(rows, CPU)
    expected = reference_loss(plain.get_base_model(), inputs)
    found = reference_loss(fused.get_base_model(), inputs)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-4)
    expected_grads, found_grads = gradients(plain, expected), gradients(fused, found)
    assert len(found_grads) == 28
    for name, grad in found_grads.items():
        assert grad.abs().sum() > 0, name
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-4, atol=1e-5)


def test_fused_lora_equals_peft(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    plain, fused = adapted(tiny_base), adapted(tiny_base)
    assert len(fuse_lora(fused)) == 14, "seven linear layers in each of two blocks"
    same_loss_and_gradients(plain, fused, rows)


def test_fused_layers_equal_autograd(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    plain, fused = adapted(tiny_base), adapted(tiny_base)
    assert fuse_layers(fused.get_base_model(), {}) == 7, (
        "two norms and an MLP a block, one norm after"
    )
    same_loss_and_gradients(plain, fused, rows)


@pytest.mark.parametrize("function", ["norm", "gate"])
def test_fused_gradients_are_the_numeric_ones(function: str) -> None:
    torch.manual_seed(0)
    x, y = (torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.rand(8, dtype=torch.float64)
    calls = {
        "norm": lambda: torch.autograd.gradcheck(
            lambda a: FrozenRmsNorm.apply(a, weight, 1e-5)[0], (x,), eps=1e-3, atol=1e-3
        ),
        "gate": lambda: torch.autograd.gradcheck(SiluGate.apply, (x, y)),
    }
    assert calls[function]()


@pytest.mark.parametrize(
    "settings", [LoraSettings(lora_dropout=0.1), LoraSettings(use_dora=True)], ids=["drop", "dora"]
)
def test_layers_that_do_more_are_not_fused(
    tiny_base: BaseModelFolder, settings: LoraSettings
) -> None:
    assert not fuse_lora(adapted(tiny_base, settings))


def test_rslora_is_fused_with_its_own_scale(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    settings = LoraSettings(use_rslora=True)
    plain, fused = adapted(tiny_base, settings), adapted(tiny_base, settings)
    fuse_lora(fused)
    inputs = pad(rows, CPU)
    expected = float(reference_loss(plain.get_base_model(), inputs))
    assert float(reference_loss(fused.get_base_model(), inputs)) == pytest.approx(expected)
    assert expected != pytest.approx(float(reference_loss(adapted(tiny_base), inputs)))


def test_disabled_adapter_is_disabled(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    fused = adapted(tiny_base)
    fuse_lora(fused)
    inputs = pad(rows, CPU)
    bare = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    expected = float(reference_loss(bare, inputs))
    with fused.disable_adapter():
        assert float(reference_loss(fused.get_base_model(), inputs)) == pytest.approx(expected)


def test_loss_at_labels_only_equals_all_logits(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    model = adapted(tiny_base)
    inputs = pad(rows, CPU)
    expected = reference_loss(model.get_base_model(), inputs)
    found = answer_loss(model.get_base_model(), inputs)
    assert float(found) == pytest.approx(float(expected), abs=1e-4)
    expected_grads, found_grads = gradients(model, expected), gradients(model, found)
    for name, grad in found_grads.items():
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_shared_prefix_equals_rows_one_by_one(
    tiny_base: BaseModelFolder, rows: list[Row], shared: bool
) -> None:
    if not shared:
        rows = [Row(row.input_ids[at % 4 :], row.labels[at % 4 :]) for at, row in enumerate(rows)]
    assert shared_length(rows) == (3 if shared else 0)
    plain, fast = adapted(tiny_base), adapted(tiny_base)
    use_shared_prefix_attention(fast.get_base_model())
    expected = sum(reference_loss(plain.get_base_model(), pad([row], CPU)) for row in rows)
    found = answer_loss(fast.get_base_model(), share_prefix(rows, CPU))
    assert float(found) == pytest.approx(float(expected), abs=1e-3)
    expected_grads, found_grads = gradients(plain, expected), gradients(fast, found)
    for name, grad in found_grads.items():
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("begin", [0, 2], ids=["whole prefix", "one less"])
@pytest.mark.parametrize("shared", [True, False])
def test_all_fast_paths_together_equal_rows_one_by_one(
    tiny_base: BaseModelFolder, rows: list[Row], shared: bool, begin: int
) -> None:
    at = [begin if shared else number % 4 for number in range(len(rows))]
    rows = [Row(r.input_ids[n:], r.labels[n:]) for r, n in zip(rows, at, strict=True)]
    plain, fast = adapted(tiny_base), adapted(tiny_base)
    stacks = fuse_lora(fast)
    model = fast.get_base_model()
    assert fuse_layers(model, stacks) == 7
    use_shared_prefix_attention(model)
    assert fuse_attention(model, stacks) == 2
    expected = sum(reference_loss(plain.get_base_model(), pad([row], CPU)) for row in rows)
    found = answer_loss(model, share_prefix(rows, CPU))
    assert float(found) == pytest.approx(float(expected), abs=1e-3)
    expected_grads, found_grads = gradients(plain, expected), gradients(fast, found)
    for name, grad in found_grads.items():
        assert grad.abs().sum() > 0, name
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-3, atol=1e-4)
    bare = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    off = sum(float(reference_loss(bare, pad([row], CPU))) for row in rows)
    with fast.disable_adapter():
        assert float(answer_loss(model, share_prefix(rows, CPU))) == pytest.approx(off, abs=1e-3)


def test_trained_tokens_never_go_into_the_prefix() -> None:
    all_trained = Row(np.array([5, 6, 7, 8]), np.array([5, 6, 7, 8]))
    answer_only = Row(np.array([5, 6, 7, 8]), np.array([IGNORED, IGNORED, IGNORED, 8]))
    assert shared_length([all_trained, all_trained]) == 0
    assert shared_length([answer_only, answer_only]) == 2
    inputs = share_prefix([answer_only, answer_only], CPU)
    assert inputs.labels.tolist() == [[IGNORED] * 3 + [8] + [IGNORED] + [8]]
    assert inputs.tokens == 8


def test_padding_changes_nothing(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    model = adapted(tiny_base).get_base_model()
    alone = sum(float(answer_loss(model, pad([row], CPU))) for row in rows)
    assert float(answer_loss(model, pad(rows, CPU))) == pytest.approx(alone, abs=1e-3)


def test_packed_rows_do_not_see_each_other(tiny_base: BaseModelFolder, rows: list[Row]) -> None:
    model = adapted(tiny_base).get_base_model()
    alone = sum(float(answer_loss(model, pad([row], CPU))) for row in rows)
    packed = pack(rows, CPU)
    assert float(answer_loss(model, packed)) == pytest.approx(alone, abs=1e-3)
    running = {**packed.arguments, "position_ids": torch.arange(packed.tokens)[None]}
    leaking = type(packed)(running, packed.labels, packed.tokens)
    assert float(answer_loss(model, leaking)) != pytest.approx(alone, abs=1e-3)


def test_packing_never_learns_the_first_token_of_a_row() -> None:
    row = Row(np.array([5, 6, 7]), np.array([5, 6, 7]))
    assert pack([row, row], CPU).labels.tolist() == [[IGNORED, 6, 7, IGNORED, 6, 7]]
