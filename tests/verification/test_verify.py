import json
import shutil
from pathlib import Path

import pytest
from tiny_export import write_adapter

from components.contracts.errors import ArtefactError
from components.contracts.events import Context
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Evaluation,
    Onnx,
    Tokens,
    Verification,
)
from components.scoring.tables import read_items, read_scores
from components.verification.settings import VerificationSettings
from components.verification.verify import SPEED, reference_variant, verify

SETTINGS = VerificationSettings(
    parity_prompts=6,
    parity_new_tokens=4,
    speed_prompt_tokens=8,
    speed_new_tokens=2,
    speed_seconds=0.01,
)
LIMIT = 10


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("evaluation") / "evaluation"
    with Evaluation.write(folder) as draft:
        draft.facts = {
            "items": {"split": "test", "limit": LIMIT, "texts": None},
            "prefix_token": 2,
        }
    return Evaluation.open(folder)


@pytest.fixture(scope="session")
def verified(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    tmp_path_factory: pytest.TempPathFactory,
) -> Verification:
    folder = tmp_path_factory.mktemp("verified")
    inputs = (tiny_base, tiny_tokens, tiny_adapter, evaluation, tiny_onnx)
    context = Context(root=folder, scratch=folder / "scratch")
    return verify(*inputs, SETTINGS, out=folder / "verification", context=context)


def test_the_fp32_file_is_torch(verified: Verification) -> None:
    parity = verified.facts["parity"]
    assert parity["passed"] is True
    assert parity["variant"] == "fp32"
    assert (parity["prompts"], parity["identical_greedy"]) == (6, 6)
    assert parity["max_logit_difference"] <= parity["limit"] == SETTINGS.max_logit_difference


def test_every_file_answered_the_same_items(verified: Verification, tiny_tokens: Tokens) -> None:
    ids = [item.id for item in read_items(tiny_tokens, "test", LIMIT)]
    assert verified.facts["items"] == LIMIT
    for name, facts in verified.facts["variants"].items():
        assert [score.id for score in read_scores(verified.scores(name))] == ids
        assert facts["metrics"]["items"] == LIMIT
        assert facts["bytes"] > 0


def test_the_facts_tell_where_each_file_ran(verified: Verification, tiny_onnx: Onnx) -> None:
    for name, facts in verified.facts["variants"].items():
        assert set(facts["ran_on"]) == {"CPUExecutionProvider"}
        nodes = tiny_onnx.facts["variants"][name]["nodes"]
        assert 0.8 * nodes < facts["ran_on"]["CPUExecutionProvider"] <= nodes


def test_rounded_weights_are_those_of_the_fp32_file(verified: Verification) -> None:
    assert verified.facts["parity"]["changed_weights"] == {}
    for name in ("int8", "int4"):
        weights = verified.facts["variants"][name]["weights"]
        assert weights["passed"]
        assert 0 < weights["largest_steps"] <= weights["limit"]
        assert weights["weights"] > 50_000
    assert verified.facts["variants"]["fp32"]["weights"]["compared"] is False


def test_agreement_falls_with_precision(verified: Verification) -> None:
    found = {name: v["agreement"] for name, v in verified.facts["variants"].items()}
    order = [found[name]["mean_logit_difference"] for name in ("fp32", "int8", "int4")]
    assert order == sorted(order)
    assert found["fp32"]["argmax"] == 1.0
    assert found["int8"]["positions"] == 6 * 4


def test_scores_of_the_fp32_file_are_those_of_torch(
    verified: Verification,
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    tiny_tokens: Tokens,
) -> None:
    from components.model.merge import load_merged
    from components.model.torch_lm import TorchLM
    from components.scoring.score import score_items

    torch_lm = TorchLM(load_merged(tiny_base.model, tiny_adapter.model)[0])
    expected = score_items(torch_lm, read_items(tiny_tokens, "test", LIMIT), prefix_token=2)
    for ours, theirs in zip(read_scores(verified.scores("fp32")), expected, strict=True):
        assert ours.choice_logprobs == pytest.approx(theirs.choice_logprobs, abs=1e-3)
        assert ours.text_nll == pytest.approx(theirs.text_nll, abs=1e-3)
        assert (ours.choice, ours.greedy) == (theirs.choice, theirs.greedy)


def test_speeds_are_beside_the_artefact_not_in_it(verified: Verification) -> None:
    speeds = json.loads((verified.path.parent / "scratch" / SPEED).read_text())
    assert set(speeds) == {"torch", "fp32", "int8", "int4"}
    for speed in speeds.values():
        assert speed["prefill_tokens_per_s"] > 0
        assert speed["decode_tokens_per_s"] > 0
        assert list(speed["batches"]) == ["1", "8"]
        for batch in speed["batches"].values():
            assert (batch["prompt_tokens"], batch["new_tokens"]) == (8, 2)
            assert 0 < batch["token_p50_s"] <= batch["token_p95_s"]
            assert batch["token_p50_s"] < batch["latency_p50_s"] <= batch["latency_p95_s"]
            assert batch["requests"] >= 1
            assert batch["memory_bytes"] >= 0
        assert speed["batches"]["1"]["decode_tokens_per_s"] == speed["decode_tokens_per_s"]
    assert "per_s" not in json.dumps(verified.facts)


def test_the_same_inputs_give_the_same_bytes(
    verified: Verification,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    context: Context,
    tmp_path: Path,
) -> None:
    inputs = (tiny_base, tiny_tokens, tiny_adapter, evaluation, tiny_onnx)
    again = verify(*inputs, SETTINGS, out=tmp_path / "again", context=context)
    assert again.facts == verified.facts
    assert again.files == verified.files


def test_an_export_of_other_weights_fails_parity_without_an_error(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    context: Context,
    tmp_path: Path,
) -> None:
    other = write_adapter(tiny_base, tmp_path / "adapter", seed=1)
    inputs = (tiny_base, tiny_tokens, other, evaluation, tiny_onnx)
    parity = verify(*inputs, SETTINGS, out=tmp_path / "out", context=context).facts["parity"]
    assert parity["passed"] is False
    assert parity["max_logit_difference"] > parity["limit"]


def test_a_flipped_bit_is_found(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_adapter: Adapter,
    evaluation: Evaluation,
    tiny_onnx: Onnx,
    context: Context,
    tmp_path: Path,
) -> None:
    damaged = Onnx.open(shutil.copytree(tiny_onnx.path, tmp_path / "onnx"))
    file = damaged.variant("int8") / "model.onnx_data"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    inputs = (tiny_base, tiny_tokens, tiny_adapter, evaluation, damaged)
    with pytest.raises(ArtefactError, match="int8/model"):
        verify(*inputs, SETTINGS, out=tmp_path / "out", context=context)
    assert not (tmp_path / "out").exists()


def test_the_most_precise_file_is_held_against_torch() -> None:
    assert reference_variant(["int4", "fp32", "int8"]) == "fp32"
    assert reference_variant(["int4", "fp16"]) == "fp16"
