"""The CUDA provider of ONNX Runtime, where that build is installed."""

import base64

import numpy as np
import pytest

pytestmark = pytest.mark.gpu

PRODUCT = base64.b64decode(
    "CAgSADpZChEKAWEKAWISAWMiBk1hdE11bBIBZ1oUCgFhEg8KDQgBEgkKAxIBbgoCCARaFAoBYhIPCg0IARIJCgIIBAoDEgFt"
    "YhUKAWMSEAoOCAESCgoDEgFuCgMSAW1CBAoAEBE="
)
"""An ONNX file of one node: c [n, m] = a [n, 4] · b [4, m]."""


def test_a_product_runs_on_the_device() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider: install the gpu extra")
    session = onnxruntime.InferenceSession(PRODUCT, providers=["CUDAExecutionProvider"])
    # It falls back to the CPU with a warning alone where a library of CUDA is missing.
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    a, b = np.ones((3, 4), np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
    (found,) = session.run(None, {"a": a, "b": b})
    np.testing.assert_allclose(found, a @ b, rtol=1e-3)
