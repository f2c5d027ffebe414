"""Smoothing: the same answers, with smaller outliers in front of the products."""

from typing import Any

import numpy as np
import pytest
import torch
from made_families import make_model

from components.contracts.errors import ModelError
from components.quantization.samples import Samples
from components.quantization.smoothing import Smoothed, groups_of, smooth

ROWS = tuple(tuple(row) for row in np.random.default_rng(0).integers(3, 259, (6, 24)).tolist())
SAMPLES = Samples(ROWS, (0,) * len(ROWS))
OUTLIER = 7
NORMS = {"cohere": 2}
"""Norms before products: two a layer, but for families where attention and MLP share one."""


def spread(model: Any) -> Any:
    """Give norms uneven weights and biases, one channel far beyond the others."""
    made = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if one.ndim == 1 and ("norm" in name or "ln_" in name):
                one.add_(0.3 * torch.randn(one.shape, generator=made))
                if len(one) == 64:
                    one[OUTLIER] += 20.0
    return model


def said(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor(ROWS)).logits
    return logits


def largest(model: Any) -> torch.Tensor:
    """Return the largest inputs of products behind norms [norms, channels]."""
    path, layers = next(
        (name, one) for name, one in model.named_modules() if isinstance(one, torch.nn.ModuleList)
    )
    with torch.inference_mode():
        return torch.stack([g.largest for g in groups_of(model, path, layers, SAMPLES)])


@pytest.mark.parametrize(
    "family",
    ["llama", "mistral", "qwen2", "qwen3", "granite", "gpt2", "opt", "gpt_neox", "cohere"],
)
def test_the_answers_are_the_same_bits(family: str) -> None:
    model = spread(make_model(family))
    before, inputs = said(model), largest(model)
    smoothed = smooth(model, SAMPLES, 0.5)
    assert smoothed == Smoothed(smoothed.norms, 0.0)
    assert len(smoothed.norms) == NORMS.get(family, 4)
    assert torch.equal(said(model), before)
    after = largest(model)
    assert not torch.equal(after, inputs)
    assert (after[:, OUTLIER] <= inputs[:, OUTLIER] / 2).all()


@pytest.mark.parametrize("family", ["gemma", "gemma2", "gemma3"])
def test_norms_that_add_one_are_divided_too(family: str) -> None:
    model = spread(make_model(family))
    before, inputs = said(model), largest(model)
    smoothed = smooth(model, SAMPLES, 0.5)
    assert smoothed.offset == 1.0
    assert len(smoothed.norms) == 4
    torch.testing.assert_close(said(model), before, rtol=1e-4, atol=1e-4)
    assert (largest(model)[:, OUTLIER] <= inputs[:, OUTLIER] / 2).all()


def test_factors_are_those_of_the_paper_but_for_their_rounding() -> None:
    model = spread(make_model("llama"))
    layer = model.model.layers[0]
    inputs = largest(model)[0]
    weights = torch.stack(
        [one.weight.abs().amax(0) for one in (layer.self_attn.q_proj, layer.self_attn.k_proj)]
        + [layer.self_attn.v_proj.weight.abs().amax(0)]
    ).amax(0)
    was = layer.input_layernorm.weight.detach().clone()
    smooth(model, SAMPLES, 0.8)
    factors = was / layer.input_layernorm.weight.detach()
    exact = inputs**0.8 / weights**0.2
    exact = exact / exact.log().mean().exp()
    assert torch.equal(factors.log2(), factors.log2().round())
    assert ((factors / exact).log2().abs() <= 0.5 + 1e-4).all()


def test_a_norm_that_is_read_otherwise_too_is_told() -> None:
    model = spread(make_model("llama"))
    norm = model.model.layers[1].input_layernorm
    whole = norm.forward
    kept: list[torch.Tensor] = []

    def remember(states: torch.Tensor) -> torch.Tensor:
        kept.append(whole(states))
        return kept[-1]

    mlp = model.model.layers[1].mlp
    plain = mlp.forward
    norm.forward = remember
    mlp.forward = lambda states: plain(states) + kept[-1]
    with pytest.raises(ModelError, match=r"LlamaForCausalLM cannot .* more than products"):
        smooth(model, SAMPLES, 0.5)


def test_a_model_without_such_norms_is_told() -> None:
    from transformers import AutoModelForCausalLM, OlmoConfig

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    config = OlmoConfig(vocab_size=259, num_attention_heads=2, **sizes)
    with pytest.raises(ModelError, match="none of its products reads what a norm"):
        smooth(AutoModelForCausalLM.from_config(config).eval(), SAMPLES, 0.5)
