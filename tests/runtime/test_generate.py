from typing import Any

import numpy as np
import pytest

from components.contracts.errors import ModelError
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.model.merge import load_merged
from components.runtime.generate import (
    Generation,
    choose_token,
    generate,
    keep_top_k,
    keep_top_p,
    penalise,
)
from components.runtime.ort import OrtLM

PROMPT = [1, 40, 41, 99, 60]


class Fixed:
    """A model that always gives the same logits."""

    def __init__(self, logits: list[float]) -> None:
        self.logits = np.array([logits], np.float32)

    def begin(self, prefix: Any, rows: Any, room: int) -> tuple[Any, Any]:
        return self.logits, None

    def step(self, tokens: Any, past: Any) -> tuple[Any, Any]:
        return self.logits, past


def test_greedy_is_what_transformers_generates(
    tiny_onnx: Onnx, tiny_base: BaseModelFolder, tiny_adapter: Adapter
) -> None:
    import torch

    model, _ = load_merged(tiny_base.model, tiny_adapter.model)
    expected = model.generate(
        torch.tensor([PROMPT]), max_new_tokens=20, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    lm = OrtLM(tiny_onnx.variant("fp32"))
    found = list(generate(lm, PROMPT, Generation(max_new_tokens=20)))
    assert found == expected[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        ("TopKLogitsWarper", 7, keep_top_k),
        ("TopPLogitsWarper", 0.6, keep_top_p),
        (
            "RepetitionPenaltyLogitsProcessor",
            1.3,
            lambda scores, value: penalise(scores, PROMPT, value),
        ),
    ],
)
def test_filters_are_those_of_transformers(name: str, value: float, ours: Any) -> None:
    import torch
    import transformers

    scores = np.random.default_rng(1).normal(size=200) * 3
    theirs = getattr(transformers, name)(value)
    expected = theirs(torch.tensor([PROMPT]), torch.tensor(scores[None]))[0].numpy()
    np.testing.assert_allclose(ours(scores, value), expected)


def test_a_stop_id_ends_and_is_not_given() -> None:
    assert list(generate(Fixed([0, 1, 9]), PROMPT, Generation(), frozenset({2}))) == []
    assert list(generate(Fixed([0, 9, 1]), PROMPT, Generation(max_new_tokens=3))) == [1, 1, 1]


def test_the_seed_decides_and_samples_follow_the_distribution() -> None:
    wide = Fixed([0.0] * 50)

    def draw(seed: int) -> list[int]:
        return list(generate(wide, PROMPT, Generation(temperature=1.0, seed=seed)))

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    random, logits = np.random.default_rng(0), np.log(np.array([0.7, 0.2, 0.1], np.float32))
    drawn = [choose_token(logits, [], Generation(temperature=1.0), random) for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.7, 0.2, 0.1], atol=0.03)


def test_a_very_small_top_p_still_leaves_the_likeliest() -> None:
    random = np.random.default_rng(0)
    logits = np.array([1.0, 5.0, 2.0], np.float32)
    settings = Generation(temperature=1.0, top_p=1e-9)
    assert {choose_token(logits, [], settings, random) for _ in range(20)} == {1}


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1.0}, {"top_p": 0.0}, {"max_new_tokens": 0}, {"repetition_penalty": 0.0}],
)
def test_settings_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        Generation(**wrong)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ModelError, match="no tokens"):
        next(generate(Fixed([0.0]), [], Generation()))


@pytest.mark.parametrize(
    "wanted",
    [
        {"temperature": 0.7},
        {"temperature": 1.5, "top_k": 9, "top_p": 0.8},
        {"temperature": 0.5, "top_p": 0.6, "repetition_penalty": 1.4},
        {"temperature": 1.0, "top_k": 3, "repetition_penalty": 0.7},
    ],
)
def test_together_they_choose_from_what_transformers_chooses_from(
    wanted: dict[str, Any], tiny_base: BaseModelFolder, tiny_adapter: Adapter
) -> None:
    """The same processors in the same order as `generate` puts them together."""
    import torch
    from transformers import GenerationConfig

    model, _ = load_merged(tiny_base.model, tiny_adapter.model)
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **wanted})
    config._eos_token_tensor = None
    processors = model._get_logits_processor(config, input_ids_seq_length=len(PROMPT))
    logits = np.random.default_rng(5).normal(size=200).astype(np.float32) * 3
    theirs = processors(torch.tensor([PROMPT]), torch.tensor(logits[None])).softmax(-1)[0].numpy()

    class Draws:
        """Stands for the random generator and keeps what it is asked to draw from."""

        def choice(self, _: int, p: Any) -> int:
            self.seen = p
            return 0

    draws = Draws()
    choose_token(logits, PROMPT, Generation(**wanted), draws)  # type: ignore[arg-type]
    np.testing.assert_allclose(draws.seen, theirs, atol=1e-6)
