"""Rows of any lengths decoded together, against each row alone."""

import numpy as np
import pytest

from components.contracts.kinds import Onnx
from components.runtime.batch import Stop
from components.runtime.generate import Generation, generate
from components.runtime.ort import OrtLM
from components.runtime.ragged import Apart, Together, answer_rows, decodes_together

RANDOM = np.random.default_rng(0)
PROMPTS = [RANDOM.integers(3, 250, size).tolist() for size in (3, 9, 4, 1, 4, 30, 12, 31)]


@pytest.fixture(scope="module", params=["fp32", "int8", "int4"])
def lm(tiny_onnx: Onnx, request: pytest.FixtureRequest) -> OrtLM:
    return OrtLM(tiny_onnx.variant(request.param), threads=1)


def test_rows_that_come_and_go_do_not_change_each_other(lm: OrtLM) -> None:
    together, apart = Together(lm), Apart(lm)
    live = 0
    for turn, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(together.join(prompt), apart.join(prompt), atol=1e-5)
        live += 1
        tokens = RANDOM.integers(3, 250, live).tolist()
        np.testing.assert_allclose(together.step(tokens), apart.step(tokens), atol=1e-5)
        if turn % 3 == 2:
            gone = [0, live - 1]
            together.drop(gone)
            apart.drop(gone)
            live -= 2
    assert live == 4
    assert decodes_together(lm)


@pytest.mark.parametrize("same", [[], RANDOM.integers(3, 250, 20).tolist()])
def test_answers_are_those_of_rows_alone(lm: OrtLM, same: list[int]) -> None:
    how = Generation(max_new_tokens=12)
    prompts = [same + prompt for prompt in PROMPTS]
    alone = [list(generate(lm, prompt, how)) for prompt in prompts]
    stop = Stop(ids=frozenset({alone[1][3], alone[5][6], alone[2][0]}))
    expected = [list(generate(lm, prompt, how, stop.ids)) for prompt in prompts]
    for size in (1, 3, 16):
        found = dict(answer_rows(lm, prompts, how, stop, batch_size=size))
        assert [found[at] for at in range(len(prompts))] == expected
    assert [] in expected, "an answer that ends before it begins"


def test_samples_do_not_depend_on_their_neighbours(lm: OrtLM) -> None:
    how = Generation(max_new_tokens=6, temperature=1.0, repetition_penalty=1.2, seed=3)
    once = dict(answer_rows(lm, PROMPTS, how, Stop(), batch_size=2))
    assert once == dict(answer_rows(lm, PROMPTS, how, Stop(), batch_size=8))


def test_a_graph_that_computes_them_wrongly_is_found(lm: OrtLM) -> None:
    """As a graph without lengths of rows would: it looks at what lies behind a row's end."""

    class Wrong(OrtLM):
        def __init__(self) -> None:
            self.__dict__ |= lm.__dict__
            self.session = Session(lm.session)

    class Session:
        """Makes every mask whole."""

        def __init__(self, inner: object) -> None:
            self.inner = inner

        def io_binding(self) -> object:
            binding = self.inner.io_binding()  # type: ignore[attr-defined]
            bind = binding.bind_cpu_input

            def whole(name: str, value: np.ndarray) -> None:
                bind(name, np.ones_like(value) if name == "attention_mask" else value)

            binding.bind_cpu_input = whole
            return binding

        def run_with_iobinding(self, binding: object) -> None:
            self.inner.run_with_iobinding(binding)  # type: ignore[attr-defined]

    assert not decodes_together(Wrong())
