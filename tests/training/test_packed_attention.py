"""The layouts made for a GPU give what the others give; the kernel itself is in tests/gpu."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from test_packing import LENGTHS, alone, model_of

from components.contracts.tables import IGNORED
from components.model.packed_attention import (
    NAME,
    lay_end_to_end,
    packed_attention,
    use_packed_attention,
)
from components.training.collate import pad
from components.training.loss import answer_loss, reference_loss
from components.training.on_gpu import Placed, collate_for_gpu, pack_with_lengths, placed
from components.training.rows import Row
from components.training.settings import TrainingSettings

CPU = torch.device("cpu")
PACKING = TrainingSettings(packing=True, bf16=False)


@pytest.fixture
def rows() -> list[Row]:
    rng = np.random.default_rng(3)
    ids = [rng.integers(3, 97, length) for length in LENGTHS]
    return [Row(one, np.where(np.arange(len(one)) < 2, IGNORED, one)) for one in ids]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
@torch.no_grad()
def test_rows_that_are_packed_by_length_are_the_rows_alone(family: str, rows: list[Row]) -> None:
    model = model_of(family)
    expected = alone(model, rows)
    if family == "gpt2":
        model.config.attn_pdrop = 0.0
    collate = collate_for_gpu(PACKING, model, CPU, max(LENGTHS))
    assert model.config._attn_implementation == NAME
    found = model(**collate(rows).arguments, use_cache=False).logits[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_lengths_are_what_parts_the_rows(rows: list[Row]) -> None:
    """With one length over all, the first row of the rest sees those before it."""
    model = model_of("llama")
    expected = alone(model, rows)
    collate = collate_for_gpu(PACKING, model, CPU, max(LENGTHS))
    arguments = collate(rows).arguments | {"packed": lay_end_to_end([sum(LENGTHS)])}
    found = model(**arguments, use_cache=False).logits[0]
    assert (found - expected).abs().max() > 0.01
    torch.testing.assert_close(found[: LENGTHS[0]], expected[: LENGTHS[0]], rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["gemma2", "mistral"])
@torch.no_grad()
def test_windows_and_capped_scores_keep_the_block_mask(family: str, rows: list[Row]) -> None:
    model = model_of(family)
    expected = alone(model, rows)
    collate = collate_for_gpu(PACKING, model, CPU, max(LENGTHS))
    assert model.config._attn_implementation != NAME
    found = model(**collate(rows).arguments, use_cache=False).logits[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_window_holds_within_a_row(rows: list[Row]) -> None:
    """Pairs may bring answers longer than the rows that the layout was chosen by."""
    model = model_of("mistral")
    expected = alone(model, rows)
    use_packed_attention(model)
    found = model(**pack_with_lengths(rows).arguments, use_cache=False).logits[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_attention_without_lengths_is_refused() -> None:
    """A leak in silence is what packing is feared for: without lengths there is no attention."""
    call: Any = packed_attention
    with pytest.raises(TypeError, match="packed"):
        call(None, None, None, None, None)


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_loss_and_gradients_at_known_places_are_those_of_all_logits(
    rows: list[Row], family: str, packing: bool
) -> None:
    """Gemma 2 caps its scores: its rows are padded, or packed behind a block mask."""
    model = model_of(family)
    expected = reference_loss(model, pad(rows, CPU))
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    settings = PACKING.model_copy(update={"packing": packing})
    inputs = collate_for_gpu(settings, model, CPU, max(LENGTHS))(rows)
    assert isinstance(inputs, Placed)
    assert inputs.tokens == sum(LENGTHS)
    found = answer_loss(model, inputs)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-3)
    for ours, theirs in zip(
        torch.autograd.grad(found, list(model.parameters())), wanted, strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_places_are_those_that_predict_a_label(rows: list[Row]) -> None:
    inputs = placed(rows, layout=partial(pad, device=CPU), device=CPU)
    flat = inputs.labels.flatten()
    assert isinstance(inputs, Placed)
    assert torch.equal(flat[inputs.places + 1], inputs.targets)
    assert len(inputs.targets) == sum(row.trained for row in rows)


def test_lengths_and_starts_say_the_same(rows: list[Row]) -> None:
    packed = pack_with_lengths(rows).arguments["packed"]
    assert packed.lengths == tuple(LENGTHS)
    assert packed.longest == max(LENGTHS)
    assert packed.starts.tolist() == [0, *np.cumsum(LENGTHS).tolist()]
    assert packed.starts.dtype == torch.int32
