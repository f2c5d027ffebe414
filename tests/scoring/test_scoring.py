"""Scores against a brute-force reading of the same model, one row and one choice at a time."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from components.contracts.kinds import BaseModelFolder, Tokens
from components.model.base import load_base
from components.model.torch_lm import TorchLM
from components.scoring.items import Item
from components.scoring.metrics import summarise
from components.scoring.score import common_prefix, score_items
from components.scoring.tables import read_items, read_scores, write_scores

PREFIX = 2


@pytest.fixture(scope="module")
def lm(tiny_base: BaseModelFolder) -> TorchLM:
    model = load_base(tiny_base.model, dtype=torch.float32, device=torch.device("cpu"))
    return TorchLM(model)


@pytest.fixture(scope="module")
def items(tiny_tokens: Tokens) -> list[Item]:
    return read_items(tiny_tokens, "test", None)


def brute(lm: TorchLM, context: Sequence[int], tokens: Sequence[int]) -> tuple[float, bool]:
    """Return (summed log-probability, all greedy) of `tokens` after `context`: one full forward."""
    ids = torch.tensor([[*context, *tokens]])
    with torch.no_grad():
        logprobs = lm.model(ids).logits[0].double().log_softmax(-1)
    steps = range(len(context) - 1, len(context) + len(tokens) - 1)
    total = sum(float(logprobs[at, token]) for at, token in zip(steps, tokens, strict=True))
    greedy = all(
        int(logprobs[at].argmax()) == token for at, token in zip(steps, tokens, strict=True)
    )
    return total, greedy


def test_scores_equal_brute_force(lm: TorchLM, items: list[Item]) -> None:
    scores = score_items(lm, items, prefix_token=PREFIX)
    assert [s.id for s in scores] == [i.id for i in items]
    for item, score in zip(items, scores, strict=True):
        choices = [brute(lm, item.prompt, choice)[0] for choice in item.choices]
        assert score.choice_logprobs == pytest.approx(choices, abs=1e-4)
        assert score.choice == int(np.argmax(choices))
        answer, greedy = brute(lm, item.prompt, item.answer)
        assert score.answer_nll == pytest.approx(-answer, abs=1e-4)
        assert score.greedy == greedy
        assert score.text_nll == pytest.approx(-brute(lm, [PREFIX], item.text)[0], abs=1e-4)
        assert score.right == (score.choice == item.target)


def test_items_share_a_prefix_that_is_really_used(items: list[Item]) -> None:
    assert common_prefix([item.prompt for item in items]) == (1, 40, 41)


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([(1, 2, 3), (1, 2, 4)], (1, 2)),
        ([(1, 2), (1, 2)], (1,)),
        ([(5,), (5, 6)], ()),
        ([(1, 2), (3, 4)], ()),
        ([], ()),
    ],
)
def test_common_prefix_leaves_a_token(
    prompts: list[tuple[int, ...]], shared: tuple[int, ...]
) -> None:
    assert common_prefix(prompts) == shared


def test_free_answers_are_right_when_greedy(lm: TorchLM, items: list[Item]) -> None:
    item = items[0]
    logits, _ = lm.forward(np.array([item.prompt]))
    best = int(logits[0, -1].argmax())
    free = Item("free", item.prompt, (best,), (), -1, (), 0)
    score = score_items(lm, [free], prefix_token=PREFIX)[0]
    assert score.greedy
    assert score.right
    assert score.text_tokens == 0


def test_cache_is_not_changed_by_going_on(lm: TorchLM) -> None:
    _, past = lm.forward(np.array([[5, 6, 7]]))
    first, _ = lm.forward(np.array([[8, 9]]), past)
    lm.forward(np.array([[30, 31, 32]]), past)
    again, _ = lm.forward(np.array([[8, 9]]), past)
    assert np.array_equal(first, again)


def test_scores_survive_their_table(lm: TorchLM, items: list[Item], tmp_path) -> None:
    scores = score_items(lm, items[:5], prefix_token=PREFIX)
    write_scores(tmp_path / "s.parquet", scores)
    assert read_scores(tmp_path / "s.parquet") == scores


def test_plain_text_is_scored_by_its_text_alone(lm: TorchLM, items: list[Item]) -> None:
    plain = Item("plain", (), (), (), -1, items[0].text, items[0].text_bytes)
    alone, beside = score_items(lm, [plain, items[0]], prefix_token=PREFIX)
    assert alone.answer_tokens == 0
    assert alone.text_nll == pytest.approx(beside.text_nll, abs=1e-4)
    metrics = summarise([alone])
    assert metrics["accuracy"] is None
    assert metrics["perplexity"] is not None
