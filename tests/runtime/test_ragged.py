"""Rows of any lengths decoded together, against each row alone."""

import numpy as np
import pytest

from components.contracts.kinds import Onnx
from components.runtime.ort import OrtLM
from components.runtime.ragged import ROOM, Apart, Together, decodes_together

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


def test_rows_outgrow_their_places(lm: OrtLM) -> None:
    together, apart = Together(lm), Apart(lm)
    for prompt in PROMPTS[:3]:
        together.join(prompt)
        apart.join(prompt)
    for token in RANDOM.integers(3, 250, ROOM + 5).tolist():
        found, expected = together.step([token] * 3), apart.step([token] * 3)
        np.testing.assert_allclose(found, expected, atol=1e-5)


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
