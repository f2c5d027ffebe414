"""Batched generation against one prompt at a time, in torch and in ONNX Runtime."""

from typing import Any

import numpy as np
import pytest

from components.contracts.errors import ModelError
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.model.merge import load_merged
from components.model.torch_lm import TorchLM
from components.runtime.batch import Stop, batches, cut, generate_batch, shared_start
from components.runtime.generate import Generation, generate
from components.runtime.ort import OrtLM

RANDOM = np.random.default_rng(0)
PROMPTS = [RANDOM.integers(3, 250, size).tolist() for size in (3, 9, 4, 1, 4, 30, 12, 31)]
SAME = RANDOM.integers(3, 250, 20).tolist()


@pytest.fixture(scope="module", params=["torch", "fp32", "int8"])
def lm(
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    tiny_onnx: Onnx,
    request: pytest.FixtureRequest,
) -> Any:
    if request.param == "torch":
        return TorchLM(load_merged(tiny_base.model, tiny_adapter.model)[0])
    return OrtLM(tiny_onnx.variant(request.param), threads=1)


def alone(lm: Any, prompts: list[list[int]], how: Generation, stop: Stop) -> list[list[int]]:
    return [list(generate(lm, prompt, how, stop.ids)) for prompt in prompts]


@pytest.mark.parametrize("prompts", [PROMPTS, [SAME + one for one in PROMPTS]])
def test_rows_together_are_rows_alone(lm: Any, prompts: list[list[int]]) -> None:
    how = Generation(max_new_tokens=12)
    free = alone(lm, prompts, how, Stop())
    # Stop tokens that really come up, early in some answers and never in others.
    stop = Stop(ids=frozenset({free[1][3], free[5][6]}))
    found = dict(generate_batch(lm, prompts, how, stop, batch_size=3))
    assert [found[at] for at in range(len(prompts))] == alone(lm, prompts, how, stop)
    assert len({len(answer) for answer in found.values()}) > 1


def test_a_text_ends_an_answer(lm: Any) -> None:
    def decode(ids: Any) -> str:
        return "".join(chr(97 + one % 26) for one in ids)

    how = Generation(max_new_tokens=16)
    free = dict(generate_batch(lm, PROMPTS, how))
    wanted = decode(free[0])[4:6]
    stop = Stop(strings=(wanted,), decode=decode)
    for index, ids in generate_batch(lm, PROMPTS, how, stop):
        whole = decode(free[index])
        assert cut(decode(ids), [wanted]) == cut(whole, [wanted])
        assert len(ids) == (whole.index(wanted) + 2 if wanted in whole else 16)


def test_samples_do_not_depend_on_their_neighbours(lm: Any) -> None:
    how = Generation(max_new_tokens=6, temperature=1.0, seed=3)
    once = dict(generate_batch(lm, PROMPTS, how, batch_size=2))
    again = dict(generate_batch(lm, PROMPTS, how, batch_size=8))
    assert once == again
    other = dict(generate_batch(lm, PROMPTS, Generation(6, temperature=1.0, seed=4)))
    assert once != other
    same = dict(generate_batch(lm, [PROMPTS[0]] * 4, how))
    assert len({tuple(answer) for answer in same.values()}) > 1


def test_batches_hold_prompts_of_like_length() -> None:
    prompts = [[0] * size for size in (5, 40, 6, 22, 21, 39, 5)]
    assert list(batches(prompts, 8, 3)) == [[0, 6, 2], [4, 3, 5], [1]]
    assert sorted(len(part) for part in batches([[0] * 9_000] * 3, 100, 8)) == [1, 2]
    assert list(batches([], 8, 3)) == []


def test_what_all_prompts_begin_with_leaves_each_a_token() -> None:
    assert shared_start([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]]) == 4
    assert shared_start([[1, 2], [1, 2]]) == 1
    assert shared_start([[1, 2, 3], [4, 2, 3]]) == 0
    assert shared_start([[1, 2, 3]]) == 0


def test_what_cannot_be_answered_is_said() -> None:
    with pytest.raises(ModelError, match="no tokens"):
        list(generate_batch(None, [[1], []], Generation()))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="decode"):
        Stop(strings=("x",))


def test_texts_are_cut_at_each_stop() -> None:
    assert cut("one\ntwo. three", ["\n", "."]) == "one"
    assert cut("one", ["", "x"]) == "one"
