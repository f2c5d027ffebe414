"""An embedding that is the head too lies in a rounded file once."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_families import write_base
from onnx import TensorProto, helper, numpy_helper
from tiny_export import write_adapter, write_export

from components.contracts.kinds import BaseModelFolder, Onnx
from components.contracts.onnx_weights import place_of
from components.export import builder
from components.export.settings import ExportSettings
from components.export.tied import share_embedding
from components.export.weights_file import write_weights
from components.runtime.ort import OrtLM


def graph_of(folder: Path) -> Any:
    return onnx.load(folder / "model.onnx", load_external_data=False).graph


def nodes(graph: Any, kind: str) -> list[Any]:
    return [node for node in graph.node if node.op_type == kind]


def lookup_and_head(graph: Any) -> tuple[Any, Any, dict[str, Any]]:
    (lookup,) = nodes(graph, "GatherBlockQuantized")
    head = next(node for node in nodes(graph, "MatMulNBits") if "head" in node.name)
    return lookup, head, {tensor.name: tensor for tensor in graph.initializer}


def test_the_lookup_reads_the_bytes_of_the_head(tiny_onnx: Onnx) -> None:
    lookup, head, named = lookup_and_head(graph_of(tiny_onnx.variant("int8")))
    assert place_of(named[lookup.input[0]]) == place_of(named[head.input[1]])
    places = [place_of(tensor) for tensor in named.values()]
    stored = sum(place[2] for place in set(places) if place is not None)
    weights = tiny_onnx.variant("int8") / "model.onnx_data"
    assert stored <= weights.stat().st_size < stored + 64 * len(places)
    tables = [one for one in named.values() if list(one.dims) == [259, 64]]
    assert [one.data_type for one in tables] == [TensorProto.UINT8], "no fp32 embedding is left"


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("variant", "bits"), [("int8", 8), ("int4", 4)])
def test_rows_looked_up_are_the_rounded_rows_of_the_head(
    variant: str, bits: int, symmetric: bool, tmp_path: Path
) -> None:
    import onnxruntime

    folder = tmp_path / "model"
    table = write_tied(folder, bits, symmetric=symmetric)
    file = folder / "model.onnx"
    before = onnxruntime.InferenceSession(file).run(None, {"ids": IDS})
    graph = onnx.load(file, load_external_data=False)
    assert share_embedding(graph.graph, folder)
    write_weights(graph.graph, folder)
    file.write_bytes(graph.SerializeToString())
    found, product = onnxruntime.InferenceSession(file).run(None, {"ids": IDS})
    step = (table.max() - table.min()) / (2**bits - 1)
    np.testing.assert_allclose(found[0], table[IDS[0]], atol=1.01 * step)
    assert np.abs(found[0] - table[IDS[0]]).max() > 0
    # The product of the looked-up rows with the rounded head is that of the rows with themselves.
    np.testing.assert_allclose(product[0], found[0] @ found_rows(folder, bits).T, atol=1e-4)
    assert np.abs(before[0] - found).max() <= 1.01 * step


IDS = np.array([[0, 1, 5, 63, 64, 99]], np.int64)


def found_rows(folder: Path, bits: int) -> np.ndarray:
    import onnxruntime

    every = np.arange(100)[None]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return np.asarray(session.run(["rows"], {"ids": every})[0][0])


def write_tied(folder: Path, bits: int, *, symmetric: bool) -> np.ndarray:
    """Write a graph of a lookup and a product with the same table [100, 64], then rounded."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    table = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"], "embed"),
            helper.make_node("MatMul", ["rows", "head"], ["logits"], "lm_head"),
        ],
        "tied",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "n"])],
        [
            helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["b", "n", 64]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "n", 100]),
        ],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(table.T.copy(), "head")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    quantizer = MatMulNBitsQuantizer(
        model, bits=bits, block_size=32, is_symmetric=symmetric, accuracy_level=1
    )
    quantizer.process()
    folder.mkdir()
    onnx.save_model(
        quantizer.model.model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    return table


def test_another_matrix_of_that_shape_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_tied(folder, 8, symmetric=False)
    weights = folder / "model.onnx.data"
    graph = graph_of(folder)
    table = next(tensor for tensor in graph.initializer if tensor.name == "table")
    _, offset, length = place_of(table) or ("", 0, 0)
    content = bytearray(weights.read_bytes())
    other = np.random.default_rng(1).normal(size=(100, 64)).astype(np.float32)
    content[offset : offset + length] = other.tobytes()
    weights.write_bytes(content)
    assert not share_embedding(graph, folder)
    assert nodes(graph, "Gather")


def test_an_untied_model_keeps_both(tiny_base: BaseModelFolder, tmp_path: Path) -> None:
    base = write_base("llama", tmp_path / "base", tiny_base)
    found = write_export(
        base,
        write_adapter(base, tmp_path / "adapter"),
        tmp_path,
        ExportSettings(variants=("int8",)),
    )
    graph = graph_of(found.variant("int8"))
    assert not nodes(graph, "GatherBlockQuantized")
    assert any(list(tensor.dims) == [259, 64] for tensor in graph.initializer)


def test_logits_hardly_move(tiny_base: BaseModelFolder, tiny_onnx: Onnx, tmp_path: Path) -> None:
    """The builder's own file, whose embedding is fp32, against the one that is stored once."""
    model = tiny_base.model
    builder.build(model, tmp_path / "own", "int8", ExportSettings())
    shutil.copytree(tmp_path / "own", tmp_path / "once")
    graph = onnx.load(tmp_path / "once" / "model.onnx", load_external_data=False)
    assert share_embedding(graph.graph, tmp_path / "once")
    write_weights(graph.graph, tmp_path / "once")
    (tmp_path / "once" / "model.onnx").write_bytes(graph.SerializeToString())
    ids = np.arange(5, 60)[None]
    own, once = (OrtLM(tmp_path / name).forward(ids)[0] for name in ("own", "once"))
    builder.build(model, tmp_path / "fp32", "fp32", ExportSettings())
    exact = OrtLM(tmp_path / "fp32").forward(ids)[0]
    assert np.abs(once - exact).mean() < 1.5 * np.abs(own - exact).mean()
