"""Packed rows never see each other, whatever the family of the model."""

from typing import Any

import numpy as np
import pytest
import torch

from components.contracts.tables import IGNORED
from components.training.collate import pack
from components.training.rows import Row

CPU = torch.device("cpu")
SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LENGTHS = [7, 1, 23, 12, 40]


def model_of(family: str) -> Any:
    """Return a random model of a family, large enough in its weights that a leak would show."""
    from transformers import AutoConfig, AutoModelForCausalLM

    wide = {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8}
    more = {
        "llama": wide,
        "qwen2": wide,
        "qwen3": wide,
        "mistral": wide | {"sliding_window": 16},
        "gemma2": wide | {"sliding_window": 16},
        "gpt2": {},
    }
    torch.manual_seed(5)
    config = AutoConfig.for_model(
        family, **SIZES, **more[family], initializer_range=0.3, bos_token_id=1, eos_token_id=2
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def rows() -> list[Row]:
    rng = np.random.default_rng(3)
    ids = [rng.integers(3, 97, length) for length in LENGTHS]
    return [Row(one, np.where(np.arange(len(one)) < 2, IGNORED, one)) for one in ids]


@torch.no_grad()
def alone(model: Any, rows: list[Row]) -> torch.Tensor:
    each = [model(torch.from_numpy(row.input_ids)[None], use_cache=False) for row in rows]
    return torch.cat([one.logits[0] for one in each])


FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gpt2"]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_packed_logits_are_those_of_the_rows_alone(family: str, rows: list[Row]) -> None:
    model = model_of(family)
    expected = alone(model, rows)
    inputs = pack(rows, CPU)
    found = model(**inputs.arguments, use_cache=False).logits[0]
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_naive_way_would_leak(family: str, rows: list[Row]) -> None:
    model = model_of(family)
    arguments = pack(rows, CPU).arguments | {"attention_mask": torch.ones(1, sum(LENGTHS))}
    found = model(**arguments, use_cache=False).logits[0]
    assert (found - alone(model, rows)).abs().max() > 0.01


def test_the_first_token_of_a_row_is_never_a_label(rows: list[Row]) -> None:
    learned = [Row(row.input_ids, row.input_ids) for row in rows]
    labels = pack(learned, CPU).labels[0]
    positions = pack(learned, CPU).arguments["position_ids"][0]
    assert (labels[positions == 0] == IGNORED).all()
    assert int((labels != IGNORED).sum()) == sum(LENGTHS) - len(LENGTHS)
