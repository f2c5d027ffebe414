"""Decoders that the builder does not know: the file's logits, its cache, its rounded weights."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from made_families import write_base

from components.contracts.artefacts import sha256
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.export.architectures import TRACED
from components.export.export import export
from components.export.round_weights import bits_of, of_one_weight
from components.export.settings import INT4, ExportSettings, WeightQuantization
from components.model.adapter import attach_adapter, save_adapter
from components.model.base import load_base
from components.model.merge import load_merged
from components.model.settings import LoraSettings
from components.model.torch_lm import TorchLM
from components.runtime.batch import generate_batch
from components.runtime.generate import Generation, generate
from components.runtime.ort import OrtLM

FAMILIES = (
    "gpt2",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("cohere", "gpt_neox", "opt")),
)
ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [13]]


def random_adapter(base: BaseModelFolder, out: Path) -> Adapter:
    model = load_base(base.model, dtype=torch.float32, device=torch.device("cpu"))
    tuned = attach_adapter(model, LoraSettings(lora_r=4))
    torch.manual_seed(1)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    with Adapter.write(out) as draft:
        save_adapter(tuned, draft.folder / "model", "random")
    return Adapter.open(out)


@pytest.fixture(scope="module", params=FAMILIES)
def exported(
    request: pytest.FixtureRequest,
    tiny_base: BaseModelFolder,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Onnx, TorchLM]:
    folder = tmp_path_factory.mktemp("traced")
    base = write_base(request.param, folder / "base", tiny_base)
    adapter = random_adapter(base, folder / "adapter")
    few = request.param != "gpt2"
    settings = ExportSettings(variants=("fp32", "int8") if few else ("fp32", "int8", "int4"))
    context = Context(folder, folder / "scratch")
    onnx_folder = export(base, adapter, settings, out=folder / "onnx", context=context)
    return onnx_folder, TorchLM(load_merged(base.model, adapter.model)[0])


def read_all(lm: Any, prefix: list[int]) -> np.ndarray:
    found = dict(lm.read(prefix, ROWS, [len(row) for row in ROWS]))
    return np.concatenate([found[index] for index in range(len(ROWS))])


def test_every_traced_architecture_is_tested(exported: tuple[Onnx, TorchLM]) -> None:
    assert exported[0].facts["architecture"] in TRACED
    assert len(FAMILIES) == len(TRACED)


def test_the_fp32_file_gives_the_logits_of_the_merged_model(
    exported: tuple[Onnx, TorchLM],
) -> None:
    lm = OrtLM(exported[0].variant("fp32"), threads=1)
    for prefix in ([], [20, 21, 22, 23]):
        np.testing.assert_allclose(read_all(lm, prefix), read_all(exported[1], prefix), atol=1e-4)


def test_the_cache_goes_on_token_by_token(exported: tuple[Onnx, TorchLM]) -> None:
    lm = OrtLM(exported[0].variant("fp32"), threads=1)
    greedy = Generation(max_new_tokens=6)
    assert list(generate(lm, [5, 6, 7], greedy)) == list(generate(exported[1], [5, 6, 7], greedy))


def test_rows_of_many_lengths_are_answered_in_one_cache(exported: tuple[Onnx, TorchLM]) -> None:
    greedy = Generation(max_new_tokens=7)
    for start in ([], [20, 21, 22, 23, 24, 25, 26]):
        prompts = [[*start, *row] for row in ROWS]
        lm = OrtLM(exported[0].variant("fp32"), threads=1)
        found = dict(generate_batch(lm, prompts, greedy))
        alone = [list(generate(exported[1], prompt, greedy)) for prompt in prompts]
        assert [found[index] for index in range(len(ROWS))] == alone


def test_rounded_weights_stay_near_and_take_less_room(exported: tuple[Onnx, TorchLM]) -> None:
    exact = read_all(exported[1], [])
    found = {v: read_all(OrtLM(exported[0].variant(v)), []) for v in exported[0].variants[1:]}
    off = {variant: float(np.abs(logits - exact).max()) for variant, logits in found.items()}
    assert 0 < off["int8"] < 0.1 * np.abs(exact).max()
    if "int4" in off:
        assert off["int8"] < off["int4"] < 0.5 * np.abs(exact).max()
    facts = exported[0].facts["variants"]
    assert facts["int8"]["bytes"] < facts["fp32"]["bytes"]
    graph = onnx.load(exported[0].variant("int8") / "model.onnx", load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    products = {"gpt2": 9, "cohere": 15, "gpt_neox": 9, "opt": 13}
    assert kinds.count("MatMulNBits") == products[exported_family(exported[0])]


def test_a_tied_embedding_lies_in_rounded_files_once(exported: tuple[Onnx, TorchLM]) -> None:
    tied = exported[1].model.config.tie_word_embeddings
    for variant in exported[0].variants[1:]:
        file = exported[0].variant(variant) / "model.onnx"
        graph = onnx.load(file, load_external_data=False).graph
        lookups = [node for node in graph.node if node.op_type == "GatherBlockQuantized"]
        assert len(lookups) == (1 if tied else 0)


def test_genai_reads_it_too(exported: tuple[Onnx, TorchLM]) -> None:
    og = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    model = og.Model(str(exported[0].variant("fp32")))
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=9, min_length=9, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(np.array([5, 6, 7], np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    found = [int(token) for token in generator.get_sequence(0)][3:]
    greedy = list(generate(exported[1], [5, 6, 7], Generation(max_new_tokens=6)))
    assert found == greedy or 2 in greedy


def exported_family(found: Onnx) -> str:
    config = json.loads((found.variant("fp32") / "config.json").read_text())
    return str(config["model_type"])


@pytest.mark.slow
def test_the_file_tells_nothing_of_this_machine_and_is_the_same_again(
    tiny_base: BaseModelFolder, tmp_path: Path
) -> None:
    base = write_base("gpt2", tmp_path / "base", tiny_base)
    adapter = random_adapter(base, tmp_path / "adapter")
    made = []
    for name in ("one", "two"):
        context = Context(tmp_path, tmp_path / f"scratch-{name}")
        out = tmp_path / name / "onnx"
        made.append(
            export(
                base, adapter, ExportSettings(variants=("fp32", "int8")), out=out, context=context
            )
        )
    assert made[0].digest == made[1].digest
    for file in made[0].path.rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes()
            assert b"site-packages" not in file.read_bytes()
    assert sha256(made[0].path / "int8" / "tokenizer.json")


def test_groups_keep_their_bits_in_the_file(exported: tuple[Onnx, TorchLM]) -> None:
    if "int4" not in exported[0].variants:
        pytest.skip("this family is exported in eight bits only")
    graph = onnx.load(exported[0].variant("int4") / "model.onnx", load_external_data=False).graph
    bits = {
        node.name: next(one.i for one in node.attribute if one.name == "bits")
        for node in graph.node
        if node.op_type == "MatMulNBits"
    }
    plain = [re.sub(r"_Q\d$", "", name) for name in bits]
    expected = bits_of(plain, 4, INT4, "lm_head")
    assert {re.sub(r"_Q\d$", "", name): width for name, width in bits.items()} == expected
    assert set(bits.values()) == {4, 8}


def test_mixed_layers_are_whole_layers() -> None:
    names = [f"h.{layer}.mlp" for layer in range(16)] + ["lm_head"]
    bits = bits_of(names, 4, INT4, "lm_head")
    raised = [name for name in names if bits[name] == 8]
    assert raised == [f"h.{layer}.mlp" for layer in (0, 1, 4, 7, 10, 13, 14, 15)] + ["lm_head"]


def test_products_of_one_weight_have_the_same_bits() -> None:
    names = {"layer.0": "shared", "layer.1": "shared", "head": "own"}
    nodes = [
        onnx.helper.make_node("MatMul", ["x", weight], [f"{name}.y"], name=name)
        for name, weight in names.items()
    ]
    graph = onnx.helper.make_graph(nodes, "shared layers", [], [])
    bits = {"layer.0": 8, "layer.1": 4, "head": 4}
    assert of_one_weight(graph, bits) == {"layer.0": 8, "layer.1": 8, "head": 4}


def test_what_only_the_builder_does_is_refused_with_what_to_do(
    tiny_base: BaseModelFolder, tmp_path: Path
) -> None:
    base = write_base("gpt2", tmp_path / "base", tiny_base)
    adapter = random_adapter(base, tmp_path / "adapter")
    context = Context(tmp_path, tmp_path / "scratch")
    asked = ExportSettings(variants=("int4",), int4=WeightQuantization(algo_config="k_quant"))
    with pytest.raises(ModelError, match="use rtn or default"):
        export(base, adapter, asked, out=tmp_path / "onnx", context=context)
    half = ExportSettings(variants=("fp16",), execution_provider="cuda")
    with pytest.raises(ModelError, match="leave this variant out"):
        export(base, adapter, half, out=tmp_path / "onnx", context=context)
