from typing import Any

import numpy as np
import pytest

from components.contracts.errors import ModelError
from components.verification.parity import (
    agreement,
    check_parity,
    choose_prompts,
    equal_lengths,
    generate_greedy,
)


class Successor:
    """Predicts token + 1 (mod 7) after every token; `shift` is added to all logits."""

    def __init__(self, shift: float = 0.0, after: int = 1) -> None:
        self.shift, self.after = shift, after
        self.read_by: list[Any] = []

    def forward(self, ids: Any, past: Any = None, *, last_only: bool = False) -> tuple[Any, Any]:
        self.read_by.append(ids.tolist())
        logits = np.full((*ids.shape, 7), self.shift, np.float32)
        np.put_along_axis(logits, ((ids + self.after) % 7)[..., None], 10 + self.shift, axis=-1)
        return logits, None

    def read(self, prefix: Any, rows: Any, keep: Any) -> Any:
        for index, (row, kept) in enumerate(zip(rows, keep, strict=True)):
            yield index, self.forward(np.array([[*prefix, *row]]))[0][0, -kept:]


def test_greedy_tokens_follow_the_model() -> None:
    run = generate_greedy(Successor(), np.array([[1, 2], [5, 6]]), 3)
    assert run.ids.tolist() == [[1, 2, 3, 4, 5], [5, 6, 0, 1, 2]]
    assert run.logits.shape == (2, 4, 7)


def test_a_difference_in_logits_is_measured() -> None:
    parity = check_parity(Successor(shift=0.25), Successor(), [[1, 2], [3], [4]], 3)
    assert (parity.prompts, parity.identical_greedy) == (3, 3)
    assert parity.max_logit_difference == pytest.approx(0.25)


def test_what_prompts_share_is_read_once_and_compared_too() -> None:
    prompts = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6, 0]]
    torch_lm = Successor()
    parity = check_parity(Successor(), torch_lm, prompts, 2)
    assert torch_lm.read_by == [[[1, 2, 3]], [[4, 5], [5, 6]], [[6, 0, 1]]]
    assert (parity.prompts, parity.identical_greedy) == (3, 3)
    rows = [row for reference in parity.references for row in reference.ids.tolist()]
    assert rows == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 5, 6, 0], [1, 2, 3, 6, 0, 1, 2]]

    class OffAtTheStart(Successor):
        def forward(self, ids: Any, past: Any = None, **options: Any) -> tuple[Any, Any]:
            logits, cache = super().forward(ids, past, **options)
            return logits + 0.5 * (ids.tolist() == [[1, 2, 3]]), cache

    assert check_parity(OffAtTheStart(), Successor(), prompts, 2).max_logit_difference == 0.5


def test_a_short_common_start_is_read_with_every_prompt() -> None:
    torch_lm = Successor()
    check_parity(Successor(), torch_lm, [[1, 2, 3, 4], [1, 3, 4, 5]], 1)
    assert torch_lm.read_by == [[[1, 2, 3, 4], [1, 3, 4, 5]]]


def test_another_choice_is_counted() -> None:
    parity = check_parity(Successor(), Successor(after=2), [[1, 2], [3]], 2)
    assert (parity.prompts, parity.identical_greedy) == (2, 0)
    assert parity.agreement.facts()["argmax"] == 0.0
    assert agreement(Successor(), parity.references).facts() == parity.agreement.facts()
    assert agreement(Successor(after=2), parity.references).facts() == {
        "positions": 4,
        "argmax": 1.0,
        "mean_logit_difference": 0.0,
        "max_logit_difference": 0.0,
    }


def test_prompts_are_the_longest_and_the_commonest_lengths() -> None:
    prompts = [[1], [2, 2], [3, 3], [4, 4, 4], [5, 5, 5, 5]]
    assert choose_prompts(prompts, 3) == [[5, 5, 5, 5], [2, 2], [3, 3]]
    assert len(choose_prompts(prompts, 99)) == 5


def test_batches_hold_one_length_and_every_prompt() -> None:
    prompts = [[1] * length for length in (3, 600, 3, 600, 5)]
    batches = list(equal_lengths(prompts))
    assert [batch.shape for batch in batches] == [(2, 3), (1, 5), (1, 600), (1, 600)]


def test_overflow_is_an_error() -> None:
    with pytest.raises(ModelError, match="not finite"):
        check_parity(Successor(shift=float("inf")), Successor(), [[1]], 1)
