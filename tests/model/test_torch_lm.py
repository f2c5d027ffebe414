"""Reading ragged rows behind one prefix, against one plain forward a row, family by family."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from components.model.shared_prefix import attends_plainly
from components.model.torch_lm import TorchLM, chunks

SMALL = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FAMILIES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("llama", SMALL, True),
    "qwen2": ("qwen2", SMALL, True),
    "qwen3": ("qwen3", SMALL, True),
    "gemma": ("gemma", SMALL, True),
    "mistral": ("mistral", SMALL | {"sliding_window": None}, True),
    "mistral, short window": ("mistral", SMALL | {"sliding_window": 5}, False),
    "gemma2, capped scores": ("gemma2", SMALL | {"attn_logit_softcapping": 0.5}, False),
    "gpt2": ("gpt2", GPT2, True),
}
PREFIX = [7, 8, 9, 10]
ROWS = [[11, 12, 13], [14], [15, 16, 17, 18, 19, 20], [21, 22, 23], [24, 25]]
KEEP = [2, 1, 6, 3, 1]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[Any, bool]:
    """Return a model of random weights, and whether its attention is the plain one."""
    kind, settings, plain = FAMILIES[request.param]
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**settings, initializer_range=0.4)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model.eval(), plain


def plain_logits(model: Any, row: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([row])).logits[0].numpy()


@pytest.mark.parametrize("prefix", [PREFIX, []], ids=["prefix", "none"])
def test_rows_read_together_are_rows_read_alone(
    family: tuple[Any, bool], prefix: list[int]
) -> None:
    model, plain = family
    assert attends_plainly(model, 12) == plain
    expected = [
        plain_logits(model, prefix + row)[-kept:] for row, kept in zip(ROWS, KEEP, strict=True)
    ]
    found = dict(TorchLM(model).read(prefix, ROWS, KEEP))
    assert sorted(found) == list(range(len(ROWS)))
    for index, logits in enumerate(expected):
        np.testing.assert_allclose(found[index], logits, atol=2e-5)
    # The model attends as before afterwards.
    after, _ = TorchLM(model).forward(np.array([PREFIX + ROWS[2]]))
    np.testing.assert_allclose(after[0], plain_logits(model, PREFIX + ROWS[2]), atol=2e-5)


TRUNKS = [[11, 12, 13], [14], [15, 16, 17, 18, 19, 20]]
BRANCHES = [[[30, 31], [32], [30, 33, 34]], [[35, 36, 37]], [[38], [39]]]


@pytest.mark.parametrize("prefix", [PREFIX, []], ids=["prefix", "none"])
def test_branches_behind_one_trunk_are_rows_read_alone(
    family: tuple[Any, bool], prefix: list[int]
) -> None:
    model, _ = family
    found = dict(TorchLM(model).read_branches(prefix, TRUNKS, BRANCHES))
    assert sorted(found) == [0, 1, 2]
    for index, (trunk, several) in enumerate(zip(TRUNKS, BRANCHES, strict=True)):
        first, rest = found[index]
        assert len(rest) == len(several)
        for branch, logits in zip(several, rest, strict=True):
            expected = plain_logits(model, prefix + trunk + branch)[-len(branch) - 1 : -1]
            np.testing.assert_allclose(first, expected[0], atol=2e-5)
            np.testing.assert_allclose(logits, expected[1:], atol=2e-5)


def test_the_rows_really_depend_on_prefix_and_themselves(family: tuple[Any, bool]) -> None:
    model, _ = family
    other = dict(TorchLM(model).read([30, *PREFIX[1:]], ROWS, KEEP))
    same = dict(TorchLM(model).read(PREFIX, [*ROWS[:4], [50, 25]], KEEP))
    here = dict(TorchLM(model).read(PREFIX, ROWS, KEEP))
    assert np.abs(other[1] - here[1]).max() > 1e-3
    assert np.abs(same[4] - here[4]).max() > 1e-3
    np.testing.assert_allclose(same[2], here[2], atol=2e-5)


def test_chunks_hold_every_row_once_and_stay_small() -> None:
    lengths = [700, 5, 400, 300, 900, 2000]
    parts = list(chunks(lengths, [1] * len(lengths)))
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or sum(lengths[i] for i in part) <= 1024 for part in parts)
    assert parts[0] == [1, 3, 2]
    assert [len(part) for part in chunks([300] * 4, [300] * 4)] == [1] * 4
    assert list(chunks([], [])) == []


def test_rows_of_a_batch_are_read_behind_a_cache_of_one_row(family: tuple[Any, bool]) -> None:
    model, _ = family
    lm = TorchLM(model)
    _, past = lm.forward(np.array([PREFIX]))
    rows = np.array([[11, 12, 13], [21, 22, 23]])
    logits, after = lm.forward(rows, past)
    more, _ = lm.forward(np.array([[14], [24]]), after)
    for row, *found in zip(rows.tolist(), logits, more, strict=True):
        expected = plain_logits(model, [*PREFIX, *row, row[-1] + 1])[len(PREFIX) :]
        np.testing.assert_allclose(np.concatenate(found), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("prefix", [PREFIX, []], ids=["prefix", "none"])
def test_prompts_begun_together_go_on_as_they_would_alone(
    family: tuple[Any, bool], prefix: list[int]
) -> None:
    model, _ = family
    lm = TorchLM(model)
    rows = [list(row) for row in ROWS]
    logits, past = lm.begin(prefix, rows, 8)
    rng = np.random.default_rng(0)
    for taken in range(8):
        for row, found in zip(rows, logits, strict=True):
            expected = plain_logits(model, [*prefix, *row])[-1]
            np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
        if taken == 3:  # some rows have ended; the others change places
            left = [4, 0, 2]
            past, rows = lm.select(past, left), [rows[place] for place in left]
        if taken < 7:
            tokens = rng.integers(3, 90, len(rows))
            logits, past = lm.step(tokens, past)
            rows = [[*row, int(token)] for row, token in zip(rows, tokens, strict=True)]


def test_long_prompts_are_begun_in_several_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING["llama"](**SMALL)).eval()
    once, _ = TorchLM(model).begin(PREFIX, ROWS, 1)
    monkeypatch.setattr("components.model.torch_lm.CHUNK", 6)
    lm = TorchLM(model)
    again, past = lm.begin(PREFIX, ROWS, 1)
    np.testing.assert_allclose(again, once, atol=1e-5)
    logits, _ = lm.step(np.arange(30, 30 + len(ROWS)), past)
    for row, token, found in zip(ROWS, range(30, 40), logits, strict=False):
        expected = plain_logits(model, [*PREFIX, *row, token])[-1]
        np.testing.assert_allclose(found, expected, atol=1e-5)
