"""ONNX Runtime computes with exactly the numbers that were packed."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from components.quantization.gptq import Manner, gptq
from components.quantization.packing import pack

ROWS, OUTPUTS = 30, 24


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("inputs", "block"), [(96, 32), (144, 16), (90, 32)], ids=["whole", "odd blocks", "part"]
)
def test_a_product_is_that_of_the_rounded_weight(inputs: int, block: int, bits: int) -> None:
    import onnxruntime

    made = torch.Generator().manual_seed(0)
    weight = torch.randn(OUTPUTS, inputs, generator=made)
    states = torch.randn(ROWS, inputs, generator=made)
    rounded = gptq(weight, states.T @ states, bits, block, Manner())
    tensors = dict(zip(("codes", "scales", "zeros"), pack(rounded), strict=True))
    sizes = {"K": inputs, "N": OUTPUTS, "bits": bits, "block_size": block, "accuracy_level": 1}
    node = helper.make_node(
        "MatMulNBits", ["states", *tensors], ["out"], domain="com.microsoft", **sizes
    )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [ROWS, inputs])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [ROWS, OUTPUTS])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"states": states.numpy()})
    np.testing.assert_allclose(found, (states @ rounded.weight.T).numpy(), atol=1e-4)
