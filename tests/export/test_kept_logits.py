from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from components.contracts.kinds import Onnx
from components.export.kept_logits import NAME, head_of, let_readers_keep_fewer
from components.runtime.ort import OrtLM

IDS = np.array([[1, 40, 41, 99, 60, 7]], np.int64)


class All(OrtLM):
    """Reads the same file, and never asks for fewer logits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        assert self.keeps_fewer
        self.keeps_fewer = False


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_the_last_logits_are_those_of_all(tiny_onnx: Onnx, variant: str) -> None:
    folder = tiny_onnx.variant(variant)
    few, every = OrtLM(folder), All(folder)
    assert few.keeps_fewer
    found, _ = few.forward(IDS, last_only=True)
    expected, _ = every.forward(IDS)
    np.testing.assert_allclose(found[:, 0], expected[:, -1], atol=1e-4)


def test_rows_of_many_lengths_get_their_own_last_ones(tiny_onnx: Onnx) -> None:
    folder = tiny_onnx.variant("fp32")
    rows = [IDS[0].tolist(), [5, 6, 7], [9, 11, 12, 13]]
    found, _ = OrtLM(folder).begin((), rows, 4)
    expected, _ = All(folder).begin((), rows, 4)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_who_gives_nothing_gets_all(tiny_onnx: Onnx) -> None:
    lm = OrtLM(tiny_onnx.variant("fp32"))
    assert NAME not in lm.inputs
    assert lm.forward(IDS)[0].shape[1] == IDS.shape[1]


def graph_of(*nodes: Any) -> Any:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "logits")
    ]
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1, 1], [2.0])
    return helper.make_graph(list(nodes), "graph", values[:1], values[1:], [weight])


def test_a_head_behind_a_soft_cap_is_found() -> None:
    head = helper.make_node("MatMul", ["x", "weight"], ["raw"], "head")
    cap = helper.make_node("Tanh", ["raw"], ["capped"], "cap")
    scale = helper.make_node("Mul", ["capped", "weight"], ["logits"], "scale")
    assert head_of(graph_of(head, cap, scale)).name == "head"


def test_a_graph_without_a_head_stays_as_it_is(tmp_path: Path) -> None:
    softmax = helper.make_node("Softmax", ["x"], ["logits"], "last")
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph_of(softmax)), file)
    before = file.read_bytes()
    assert not let_readers_keep_fewer(file)
    assert file.read_bytes() == before
