"""Files for CUDA are built on any machine, and are never run on another device unseen."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto
from tiny_export import write_export

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Evaluation, Onnx, Tokens
from components.export.settings import ExportSettings
from components.runtime.ort import OrtLM
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

HALVES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@pytest.fixture(scope="module")
def for_cuda(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Onnx:
    settings = ExportSettings(execution_provider="cuda", variants=("fp16", "bf16", "int4"))
    return write_export(tiny_base, tiny_adapter, tmp_path_factory.mktemp("cuda"), settings)


def graph_of(folder: Path) -> Any:
    return onnx.load(folder / "model.onnx", load_external_data=False).graph


@pytest.mark.parametrize("variant", HALVES)
def test_weights_and_cache_have_half_the_width(variant: str, for_cuda: Onnx) -> None:
    graph = graph_of(for_cuda.variant(variant))
    weights = [tensor for tensor in graph.initializer if "MatMul.weight" in tensor.name]
    assert len(weights) > 8
    assert {tensor.data_type for tensor in weights} == {HALVES[variant]}
    values = (*graph.input, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    cache = [kind for name, kind in kinds.items() if ".key" in name or ".value" in name]
    assert set(cache) == {HALVES[variant]}
    assert kinds["input_ids"] == kinds["attention_mask"] == TensorProto.INT64


def test_rounded_weights_have_half_steps(for_cuda: Onnx) -> None:
    graph = graph_of(for_cuda.variant("int4"))
    named = {tensor.name: tensor for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulNBits"]
    kinds = {named[node.input[2]].data_type for node in products}
    assert len(products) > 8
    assert kinds <= set(HALVES.values())


def test_every_config_names_the_provider(for_cuda: Onnx) -> None:
    assert for_cuda.facts["execution_provider"] == "cuda"
    for name in for_cuda.variants:
        config = json.loads((for_cuda.variant(name) / "genai_config.json").read_text())
        options = config["model"]["decoder"]["session_options"]["provider_options"]
        assert [provider for one in options for provider in one] == ["cuda"]


def test_they_take_half_the_room(for_cuda: Onnx, tiny_onnx: Onnx) -> None:
    full = tiny_onnx.files["fp32/model.onnx_data"]["size"]
    for name in HALVES:
        assert for_cuda.files[f"{name}/model.onnx_data"]["size"] < 0.55 * full


@pytest.fixture
def no_cuda() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is the one for CUDA")


@pytest.mark.usefixtures("no_cuda")
def test_without_cuda_nothing_is_run_and_that_is_said(
    for_cuda: Onnx,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_adapter: Adapter,
    context: Context,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=r"no CUDAExecutionProvider here: .* was not run"):
        OrtLM(for_cuda.variant("fp16"), device="cuda")
    with Evaluation.write(tmp_path / "evaluation") as draft:
        draft.facts = {"items": {"split": "test", "limit": 4, "texts": None}, "prefix_token": 2}
    evaluation = Evaluation.open(tmp_path / "evaluation")
    inputs = (tiny_base, tiny_tokens, tiny_adapter, evaluation, for_cuda)
    settings = VerificationSettings(
        parity_prompts=2, parity_new_tokens=2, speed_prompt_tokens=8, speed_new_tokens=2
    )
    with pytest.raises(ModelError, match="was not run") as caught:
        verify(*inputs, settings, out=tmp_path / "out", context=context)
    assert "gpu extra" in str(caught.value)
    assert not (tmp_path / "out").exists()
