"""The weights beside a graph: written once, at any offset, under any name."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.contracts.kinds import Onnx
from components.contracts.onnx_weights import place_of, read_tensor
from components.export.weights_file import put_at, rename_weights, view_of, write_weights

FAR = 5 * 2**30
"""An offset in bytes that 32 bits do not hold; the file is sparse and takes no room."""


def add_graph(folder: Path, location: str) -> Any:
    """Return a graph that adds two weights whose bytes lie before and behind `FAR`."""
    with (folder / location).open("wb") as stream:
        stream.write(np.arange(4, dtype=np.float32).tobytes())
        stream.seek(FAR)
        stream.write(np.full(4, 10, np.float32).tobytes())
    tensors = [numpy_helper.from_array(np.zeros(4, np.float32), name) for name in ("near", "far")]
    for tensor, offset in zip(tensors, (0, FAR), strict=True):
        put_at(tensor, (location, offset, 16))
    out = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [4])
    node = helper.make_node("Add", ["near", "far"], ["sum"], "add")
    graph = helper.make_graph([node], "sparse", [], [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model: Any, folder: Path) -> list[float]:
    import onnxruntime

    (folder / "model.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return list(session.run(None, {})[0])


def test_weights_beyond_two_gigabytes_are_read_and_brought_together(tmp_path: Path) -> None:
    model = add_graph(tmp_path, "big.data")
    assert run(model, tmp_path) == [10, 11, 12, 13]
    assert list(read_tensor(tmp_path, model.graph.initializer[1], (4,))) == [10] * 4
    write_weights(model.graph, tmp_path)
    assert run(model, tmp_path) == [10, 11, 12, 13]
    assert (tmp_path / "model.onnx_data").stat().st_size == 64 + 16
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx_data"}


def test_the_same_bytes_are_written_once(tmp_path: Path) -> None:
    model = add_graph(tmp_path, "big.data")
    near = model.graph.initializer[0]
    model.graph.initializer.append(view_of(near, "near_rows", (2, 2)))
    write_weights(model.graph, tmp_path)
    places = [place_of(tensor) for tensor in model.graph.initializer]
    assert places[0] == places[2] != places[1]
    again = read_tensor(tmp_path, model.graph.initializer[2], (2, 2))
    assert again.tolist() == [[0, 1], [2, 3]]


def test_large_tensors_of_the_graph_go_there_too_where_asked(tmp_path: Path) -> None:
    model = add_graph(tmp_path, "big.data")
    new = np.arange(300, dtype=np.float32)
    for name, values in (("new", new), ("again", new), ("small", new[:2])):
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    write_weights(model.graph, tmp_path, "big.data", smallest=1024)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    assert place_of(tensors["new"]) == place_of(tensors["again"]) == ("big.data", 128, 1200)
    assert place_of(tensors["small"]) is None
    assert np.array_equal(read_tensor(tmp_path, tensors["new"], (300,)), new)
    assert run(model, tmp_path) == [10, 11, 12, 13]
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "big.data"}


def test_another_name_leaves_the_places(tmp_path: Path) -> None:
    model = add_graph(tmp_path, "big.data")
    assert rename_weights(model.graph, "other.data") == {"big.data"}
    (tmp_path / "big.data").rename(tmp_path / "other.data")
    assert run(model, tmp_path) == [10, 11, 12, 13]
    assert place_of(model.graph.initializer[1]) == ("other.data", FAR, 16)


def test_large_weights_of_an_export_lie_outside_its_graph(tiny_onnx: Onnx) -> None:
    for name in tiny_onnx.variants:
        folder = tiny_onnx.variant(name)
        graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
        inside = [one for one in graph.initializer if place_of(one) is None]
        assert sum(one.ByteSize() for one in inside) < 10_000
        places = [place for one in graph.initializer if (place := place_of(one)) is not None]
        assert {place[0] for place in places} == {"model.onnx_data"}
        end = (folder / "model.onnx_data").stat().st_size
        assert max(offset + length for _, offset, length in places) == end
