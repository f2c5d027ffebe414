"""A smoothed variant: the same model to its reader, and to the verification of its weights."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from made_families import make_model, write_base
from tiny_export import write_adapter, write_export

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx, Tokens
from components.contracts.onnx_weights import WEIGHTS, place_of, read_tensor
from components.export.export import export
from components.export.settings import ExportSettings
from components.export.tracing import FILE
from components.runtime.ort import OrtLM
from components.verification.weights import compare_weights

INT8 = {"algo_config": "rtn", "block_size": 32, "smoothing": 0.5}
SETTINGS = ExportSettings.model_validate({"variants": ["fp32", "int8"], "int8": INT8})
NORM = "model.layers.1.post_attention_layernorm.weight"
IDS = np.arange(5, 45, dtype=np.int64)[None]


def smoothed(base: BaseModelFolder, adapter: Adapter, tokens: Tokens, folder: Path) -> Onnx:
    context = Context(folder, folder / "scratch")
    return export(base, adapter, SETTINGS, out=folder / "onnx", context=context, tokens=tokens)


@pytest.fixture(scope="module")
def tuned(
    tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BaseModelFolder, Adapter]:
    folder = tmp_path_factory.mktemp("uneven")
    base = uneven("llama", write_base("llama", folder / "base", tiny_base))
    return base, write_adapter(base, folder / "adapter")


@pytest.fixture(scope="module")
def made(
    tuned: tuple[BaseModelFolder, Adapter],
    tiny_tokens: Tokens,
    tmp_path_factory: pytest.TempPathFactory,
) -> Onnx:
    return smoothed(*tuned, tiny_tokens, tmp_path_factory.mktemp("smoothed"))


def tensor(folder: Path, name: str) -> Any:
    graph = onnx.load(folder / FILE, load_external_data=False).graph
    return next(one for one in graph.initializer if one.name == name)


def values(folder: Path, name: str) -> np.ndarray[Any, Any]:
    found = tensor(folder, name)
    return read_tensor(folder, found, tuple(found.dims))


def logits(folder: Path) -> np.ndarray[Any, Any]:
    return OrtLM(folder, threads=1).forward(IDS)[0]


def test_fp32_stays_what_it_is_and_int8_says_what_it_says(
    made: Onnx, tuned: tuple[BaseModelFolder, Adapter], tmp_path: Path
) -> None:
    plain = write_export(*tuned, tmp_path, ExportSettings(variants=("fp32",)))
    assert plain.files.items() <= made.files.items()
    exact, rounded = (logits(made.variant(name)) for name in ("fp32", "int8"))
    assert 0 < np.square(rounded - exact).mean() / exact.var() < 1e-3


def test_facts_and_norms_tell_of_it(made: Onnx, tiny_onnx: Onnx) -> None:
    facts = made.facts["variants"]["int8"]
    assert facts["quantization"]["smoothing"] == 0.5
    assert facts["smoothed"] == {"norms": 4, "offset": 0.0}
    assert "smoothing" not in tiny_onnx.facts["variants"]["int8"]["quantization"]
    assert "smoothed" not in tiny_onnx.facts["variants"]["int8"]
    before, after = (values(made.variant(name), NORM) for name in ("fp32", "int8"))
    powers = np.log2(before / after)
    assert np.array_equal(powers, np.round(powers))
    assert powers.any()


def test_the_same_inputs_give_the_same_bytes(
    made: Onnx,
    tuned: tuple[BaseModelFolder, Adapter],
    tiny_tokens: Tokens,
    tmp_path: Path,
) -> None:
    again = smoothed(*tuned, tiny_tokens, tmp_path)
    assert again.files == made.files
    assert not list((tmp_path / "scratch").iterdir())


def test_its_weights_are_those_of_fp32_and_any_flipped_bit_is_found(
    made: Onnx, tmp_path: Path
) -> None:
    found = compare_weights(made, "int8")
    assert found["passed"]
    assert found["weights"] > 0
    folder = shutil.copytree(made.path, tmp_path / "onnx")
    damaged = Onnx(folder, made.facts, made.files)
    graph = onnx.load(folder / "int8" / FILE, load_external_data=False).graph
    codes = next(t.name for t in graph.initializer if "down_proj" in t.name and "_Q" in t.name)
    products = next(t.name for t in graph.initializer if "up_proj" in t.name and "_Q" in t.name)
    # The lowest and highest bits of the mantissa, the lowest of the exponent, the sign; codes.
    norms = [(NORM, 0, 0), (NORM, 2, 6), (NORM, 2, 7), (NORM, 3, 7)]
    for name, at, bit in [*norms, (codes, 9, 7), (products, 9, 7)]:
        place = place_of(tensor(folder / "int8", name))
        assert place is not None
        flip(folder / "int8" / WEIGHTS, place[1] + at, bit)
        assert not compare_weights(damaged, "int8")["passed"], (name, at, bit)
        flip(folder / "int8" / WEIGHTS, place[1] + at, bit)
    assert compare_weights(damaged, "int8")["passed"]


def flip(file: Path, at: int, bit: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        (before,) = stream.read(1)
        stream.seek(at)
        stream.write(bytes([before ^ 1 << bit]))


def test_without_rows_it_is_refused(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"export\.int8.smoothing is set, but there are no rows"):
        write_export(tiny_base, tiny_adapter, tmp_path, SETTINGS)
    assert not (tmp_path / "onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["mistral", "qwen2", "qwen3", "gemma", "gemma3", "gpt2", "opt", "gpt_neox", "cohere"]
)
def test_every_family_can_be_verified(
    family: str, tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    base = uneven(family, write_base(family, tmp_path / "base", tiny_base))
    adapter = write_adapter(base, tmp_path / "adapter")
    made = smoothed(base, adapter, tiny_tokens, tmp_path)
    assert made.facts["variants"]["int8"]["smoothed"]["offset"] == float("gemma" in family)
    found = compare_weights(made, "int8")
    assert found["passed"], found
    exact, rounded = (logits(made.variant(name)) for name in ("fp32", "int8"))
    assert np.square(rounded - exact).mean() / exact.var() < 1e-2


def uneven(family: str, base: BaseModelFolder) -> BaseModelFolder:
    """Give the norms of a base weights that differ."""
    model = make_model(family)
    made = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for one in model.parameters():
            if one.ndim == 1:
                one.add_(0.3 * torch.randn(one.shape, generator=made))
    model.save_pretrained(base.model)
    return base
