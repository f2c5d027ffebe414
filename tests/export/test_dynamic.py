"""Products in whole numbers: which they are, and that the file still says the same."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_families import write_base
from tiny_export import write_adapter, write_export

from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.export.settings import ExportSettings
from components.export.tracing import FILE
from components.runtime.ort import OrtLM
from components.verification.weights import compare_weights

KEPT = {"down_proj": "int8", "last_matmul": "int8"}
IDS = np.arange(5, 45, dtype=np.int64)[None]
PRODUCTS = {"MatMul", "MatMulInteger", "MatMulNBits"}


def settings(**more: Any) -> ExportSettings:
    int8 = {"algo_config": "dynamic", "matmul_mixed_precision": KEPT, **more}
    return ExportSettings.model_validate({"variants": ["fp32", "int8"], "int8": int8})


@pytest.fixture(scope="module")
def made(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Onnx:
    folder = tmp_path_factory.mktemp("dynamic")
    made = write_export(tiny_base, tiny_adapter, folder, settings())
    assert not list((folder / "scratch").iterdir())
    return made


def nodes(folder: Path) -> list[Any]:
    return list(onnx.load(folder / FILE, load_external_data=False).graph.node)


def off(made: Onnx) -> float:
    exact, rounded = (
        OrtLM(made.variant(name), threads=1).forward(IDS)[0] for name in ("fp32", "int8")
    )
    return float(np.square(rounded - exact).mean() / exact.var())


def test_all_but_what_is_kept_are_products_of_integers(made: Onnx) -> None:
    kinds = Counter(one.op_type for one in nodes(made.variant("int8")))
    # A layer has query, key and value (one or three), output, gate and up; head and down are kept.
    assert kinds["MatMulNBits"] == 3
    assert kinds["MatMulInteger"] >= 2 * 4
    assert not kinds["MatMul"]
    kept = {one.name for one in nodes(made.variant("int8")) if one.op_type == "MatMulNBits"}
    assert all("down_proj" in name or "lm_head" in name for name in kept)
    assert kinds["GatherBlockQuantized"] == 1, "the embedding is the head's own weight"


def test_it_says_nearly_what_full_precision_says(made: Onnx) -> None:
    assert 0 < off(made) < 0.01


def test_the_same_inputs_give_the_same_bytes(
    made: Onnx, tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path: Path
) -> None:
    assert write_export(tiny_base, tiny_adapter, tmp_path, settings()).files == made.files


def test_signed_weights_have_no_zero_points(
    made: Onnx, tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path: Path
) -> None:
    signed = write_export(tiny_base, tiny_adapter, tmp_path, settings(is_symmetric=True))
    assert 0 < off(signed) < 0.01
    kinds = [
        {one.data_type for one in onnx.load(folder / FILE).graph.initializer}
        for folder in (signed.variant("int8"), made.variant("int8"))
    ]
    assert onnx.TensorProto.INT8 in kinds[0]
    assert onnx.TensorProto.INT8 not in kinds[1]


def test_verification_says_that_it_cannot_compare(made: Onnx) -> None:
    assert "dynamic does not round" in compare_weights(made, "int8")["reason"]


@pytest.mark.slow
def test_a_traced_graph_too(tiny_base: BaseModelFolder, tmp_path: Path) -> None:
    base = write_base("opt", tmp_path / "base", tiny_base)
    made = write_export(base, write_adapter(base, tmp_path / "adapter"), tmp_path, settings())
    kinds = Counter(one.op_type for one in nodes(made.variant("int8")))
    assert kinds["MatMulNBits"] == 3
    assert kinds["MatMulInteger"] == 2 * 5
    assert 0 < off(made) < 0.02
