"""One flipped bit of a weight: found by its hash, and where the manifest lies, by its number."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from components.contracts.artefacts import MANIFEST, read_manifest, sha256, write_json
from components.contracts.errors import ArtefactError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Evaluation, Onnx, Tokens
from components.contracts.onnx_weights import place_of
from components.verification.parity import check_parity
from components.verification.settings import VerificationSettings
from components.verification.verify import verify
from components.verification.weights import compare_weights

SETTINGS = VerificationSettings(
    parity_prompts=2,
    parity_new_tokens=2,
    speed_prompt_tokens=8,
    speed_new_tokens=2,
    speed_repeats=1,
)
PRODUCT = "down_proj"
CODES = f"{PRODUCT} weight_Q"
ROUNDED = ("int8", "int4")

Flip = Callable[[str, str, int, int], Onnx]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    with Evaluation.write(tmp_path / "evaluation") as draft:
        draft.facts = {"items": {"split": "test", "limit": 4, "texts": None}, "prefix_token": 2}
    return Evaluation.open(tmp_path / "evaluation")


@pytest.fixture
def flip(tiny_onnx: Onnx, tmp_path: Path) -> Iterator[Flip]:
    """Flip bit `bit` of byte `at` of a variant's tensor whose name holds some words."""
    folder = shutil.copytree(tiny_onnx.path, tmp_path / "onnx")

    def flipped(variant: str, words: str, at: int, bit: int) -> Onnx:
        _, offset, length = place_of(tensor_of(folder / variant, words)) or ("", 0, 0)
        with (folder / variant / "model.onnx_data").open("r+b") as stream:
            stream.seek(offset + at % length)
            (before,) = stream.read(1)
            stream.seek(offset + at % length)
            stream.write(bytes([before ^ 1 << bit]))
        return Onnx.open(folder)

    yield flipped
    shutil.rmtree(folder)


def tensor_of(folder: Path, words: str) -> Any:
    """Return the last tensor whose name holds all the words and that lies in the weights file."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    return [
        one
        for one in graph.initializer
        if all(word in one.name for word in words.split()) and place_of(one) is not None
    ][-1]


def reseal(damaged: Onnx) -> Onnx:
    """Write into the manifest what the files are now."""
    manifest = read_manifest(damaged.path)
    for name, entry in manifest["files"].items():
        entry["sha256"] = sha256(damaged.path / name)
    write_json(damaged.path / MANIFEST, manifest)
    return Onnx.open(damaged.path)


@pytest.mark.parametrize("variant", ROUNDED)
@pytest.mark.parametrize("bit", [0, 7])
def test_its_hash_tells_at_once(
    variant: str,
    bit: int,
    flip: Flip,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    context: Context,
    tmp_path: Path,
) -> None:
    damaged = flip(variant, CODES, 40, bit)
    inputs = (tiny_base, tiny_tokens, tiny_adapter, evaluation, damaged)
    with pytest.raises(ArtefactError, match=rf"{variant}/model\.onnx_data has changed"):
        verify(*inputs, SETTINGS, out=tmp_path / "out", context=context)
    assert not (tmp_path / "out").exists()


def test_with_a_new_manifest_their_numbers_tell(
    flip: Flip,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    context: Context,
    tmp_path: Path,
) -> None:
    flip("int8", CODES, 40, 7)
    damaged = reseal(flip("int4", CODES, 40, 7))
    inputs = (tiny_base, tiny_tokens, tiny_adapter, evaluation, damaged)
    facts = verify(*inputs, SETTINGS, out=tmp_path / "out", context=context).facts
    assert facts["parity"]["passed"] is False
    changed = facts["parity"]["changed_weights"]
    assert set(changed) == set(ROUNDED)
    assert all(len(names) == 1 and PRODUCT in names[0] for names in changed.values())
    assert facts["parity"]["max_logit_difference"] < facts["parity"]["limit"]


def test_in_fp32_a_high_bit_moves_logits_and_the_lowest_none(
    flip: Flip, tiny_base: BaseModelFolder, tiny_adapter: Adapter
) -> None:
    from components.model.merge import load_merged
    from components.model.torch_lm import TorchLM
    from components.runtime.ort import OrtLM

    torch_lm = TorchLM(load_merged(tiny_base.model, tiny_adapter.model)[0])
    off = []
    for byte, bit in ((0, 0), (3, 6)):
        file = flip("fp32", f"{PRODUCT}.MatMul.weight", 400 + byte, bit).variant("fp32")
        parity = check_parity(OrtLM(file), torch_lm, [[1, 40, 41, 42]], 3)
        off.append(parity.max_logit_difference)
    assert off[0] < SETTINGS.max_logit_difference < off[1]


@pytest.mark.parametrize("variant", ROUNDED)
def test_every_bit_is_found_the_lowest_nearly_always(
    variant: str, flip: Flip, tiny_onnx: Onnx
) -> None:
    rng = random.Random(variant)
    width = 4 if "Q4" in tensor_of(tiny_onnx.variant(variant), CODES).name else 8
    lowest = []
    for bit in range(8):
        for at in (rng.randrange(10**6) for _ in range(4)):
            found = compare_weights(flip(variant, CODES, at, bit), variant)
            if bit % width == 0:
                lowest.append(not found["passed"])
                assert found["largest_steps"] <= 1.5 + 1e-3
            else:
                assert not found["passed"], (bit, at)
            flip(variant, CODES, at, bit)
    assert compare_weights(tiny_onnx, variant)["passed"]
    # One step up or down is missed where the weight lies half-way between two codes.
    assert len(lowest) == 8 * 4 // width
    assert sum(lowest) >= 0.75 * len(lowest)


@pytest.mark.parametrize("variant", ROUNDED)
@pytest.mark.parametrize("what", ["scale", "z"])
def test_a_step_or_a_zero_point_is_a_number_too(variant: str, what: str, flip: Flip) -> None:
    assert not compare_weights(flip(variant, f"{PRODUCT} weight_{what}", 3, 6), variant)["passed"]


def test_what_is_not_rounded_must_be_the_same_bytes(flip: Flip) -> None:
    damaged = flip("int8", "layers.1.input_layernorm weight", 0, 0)
    assert compare_weights(damaged, "int8")["changed"] == ["model.layers.1.input_layernorm.weight"]


def test_the_facts_say_what_was_not_compared(tiny_onnx: Onnx) -> None:
    assert compare_weights(tiny_onnx, "fp32")["reason"] == "its weights are not rounded"
    facts = json.loads(json.dumps(tiny_onnx.facts))
    del facts["variants"]["fp32"]
    alone = Onnx(tiny_onnx.path, facts, tiny_onnx.files)
    assert "no fp32 file" in compare_weights(alone, "int8")["reason"]
    facts = json.loads(json.dumps(tiny_onnx.facts))
    facts["variants"]["int8"]["quantization"]["algo_config"] = "k_quant"
    other = Onnx(tiny_onnx.path, facts, tiny_onnx.files)
    assert "k_quant" in compare_weights(other, "int8")["reason"]
