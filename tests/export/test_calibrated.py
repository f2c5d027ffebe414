"""Weights of four bits that were calibrated, in the files of the builder and of traced graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_export import write_export

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx, Tokens
from components.contracts.onnx_weights import WEIGHTS
from components.export.calibrated import modules_of, products_of
from components.export.export import export
from components.export.settings import ExportSettings
from components.export.tracing import FILE
from components.model.merge import load_merged
from components.runtime.ort import OrtLM

EXACT = {"algo_config": "gptq", "accuracy_level": 1, "calibration": {"nsamples": 24, "sweeps": 1}}
IDS = np.arange(5, 45, dtype=np.int64)[None]


def settings(**more: Any) -> ExportSettings:
    return ExportSettings.model_validate({"variants": ["int4"], "int4": {**EXACT, **more}})


def calibrated(
    base: BaseModelFolder, adapter: Adapter, tokens: Tokens, folder: Path, **more: Any
) -> Onnx:
    context = Context(root=folder, scratch=folder / "scratch", events=Heard())
    out = folder / "onnx"
    return export(base, adapter, settings(**more), out=out, context=context, tokens=tokens)


@pytest.fixture(scope="module")
def made(
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    tiny_tokens: Tokens,
    tmp_path_factory: pytest.TempPathFactory,
) -> Onnx:
    return calibrated(tiny_base, tiny_adapter, tiny_tokens, tmp_path_factory.mktemp("gptq"))


def products(folder: Path) -> dict[str, Any]:
    import onnx

    graph = onnx.load(folder / FILE, load_external_data=False).graph
    return {one.name: one for one in products_of(graph, folder)}


def bits(folder: Path) -> dict[str, int]:
    return {name: one.how("bits") for name, one in products(folder).items()}


def logits(folder: Path) -> np.ndarray[Any, Any]:
    return OrtLM(folder, threads=1).forward(IDS)[0]


def every(folder: Path, rows: list[list[int]]) -> np.ndarray[Any, Any]:
    lm = OrtLM(folder, threads=1)
    return np.concatenate([lm.forward(np.array([row]))[0][0] for row in rows])


def test_the_runtime_computes_with_exactly_what_was_calibrated(
    made: Onnx, tiny_base: BaseModelFolder, tiny_adapter: Adapter, tiny_onnx: Onnx
) -> None:
    import torch

    model, _ = load_merged(tiny_base.model, tiny_adapter.model)
    model = model.float().eval()
    where = {n: modules_of(p, model) for n, p in products(tiny_onnx.variant("int8")).items()}
    # The embedding is the head here, in torch and in the file.
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for name, product in products(made.variant("int4")).items():
        at, weight = 0, torch.from_numpy(product.weight())
        for path in where[name.replace("_Q4", "_Q8")]:
            module = model.get_submodule(path)
            size = module.weight.shape[0]
            module.weight.data = weight[at : at + size]
            at += size
        assert at == len(weight)
    with torch.inference_mode():
        expected = model(input_ids=torch.from_numpy(IDS)).logits.numpy()
    np.testing.assert_allclose(logits(made.variant("int4")), expected, atol=2e-4)


def test_it_is_nearer_to_full_precision_than_rounding_to_the_nearest(
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    tiny_onnx: Onnx,
    tiny_tokens: Tokens,
    tmp_path: Path,
) -> None:
    head = {"last_matmul": "int8"}
    made = calibrated(
        tiny_base, tiny_adapter, tiny_tokens, tmp_path / "a", matmul_mixed_precision=head
    )
    rows = pq.read_table(tiny_tokens.split("validation"))["input_ids"].to_pylist()
    plain = ExportSettings.model_validate(
        {
            "variants": ["int4"],
            "int4": EXACT | {"algo_config": "rtn", "matmul_mixed_precision": head},
        }
    )
    rounded = write_export(tiny_base, tiny_adapter, tmp_path / "b", plain)
    exact = every(tiny_onnx.variant("fp32"), rows)
    off = {
        name: float(np.square(every(one.variant("int4"), rows) - exact).mean())
        for name, one in (("gptq", made), ("rtn", rounded))
    }
    assert off["gptq"] < 0.7 * off["rtn"]


def test_every_product_has_four_bits_and_the_file_is_small(made: Onnx, tiny_onnx: Onnx) -> None:
    assert set(bits(made.variant("int4")).values()) == {4}
    files = {
        name: (folder / WEIGHTS).stat().st_size
        for name, folder in (("int4", made.variant("int4")), ("int8", tiny_onnx.variant("int8")))
    }
    assert files["int4"] < files["int8"]
    told = made.facts["variants"]["int4"]["quantization"]
    assert told["calibration"]["nsamples"] == 24


def test_groups_keep_eight_bits_and_the_same_inputs_give_the_same_bytes(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    mixed = {"last_matmul": "int8", "down_proj": "int8"}
    one, other = (
        calibrated(
            tiny_base,
            tiny_adapter,
            tiny_tokens,
            tmp_path / place,
            block_size=16,
            matmul_mixed_precision=mixed,
        )
        for place in ("here", "there")
    )
    assert one.files == other.files
    kept = {name for name, width in bits(one.variant("int4")).items() if width == 8}
    assert kept == {
        "/lm_head/MatMul_Q8",
        "/model/layers.0/mlp/down_proj/MatMul_Q8",
        "/model/layers.1/mlp/down_proj/MatMul_Q8",
    }


def test_without_rows_and_for_other_kinds_it_is_refused(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no rows to calibrate on"):
        write_export(tiny_base, tiny_adapter, tmp_path, settings())
    assert not (tmp_path / "onnx").exists()


def test_a_file_of_another_model_is_told(
    tiny_onnx: Onnx, tiny_base: BaseModelFolder, tiny_adapter: Adapter
) -> None:
    import torch

    model, _ = load_merged(tiny_base.model, tiny_adapter.model)
    model.model.layers[1].mlp.up_proj.weight.data.add_(torch.ones(1))
    found = products(tiny_onnx.variant("int8"))
    with pytest.raises(ModelError, match=r"up_proj.* is none of the model's own"):
        [modules_of(one, model) for one in found.values()]
