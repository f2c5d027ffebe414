"""The identity-swap test in the recipe's own prompt, in torch and in the exported files."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Dataset, Onnx, Tokens
from components.evaluation.evaluate import evaluate
from components.evaluation.settings import BiasSettings, EvaluationSettings
from components.evaluation.swapped import OWN, swap_requests
from components.scoring.bias import Swap
from components.scoring.requests import read_answers
from components.scoring.voice import Voice, load_voice
from components.verification.settings import VerificationSettings
from components.verification.verify import verify

GROUPS = {"origin": ("American", "Chinese", "Nigerian")}


@pytest.fixture(scope="module")
def voice(tiny_base: BaseModelFolder) -> Voice:
    return load_voice(tiny_base.model)


def test_sentences_stand_where_the_text_of_a_row_stands(
    dataset: Dataset, voice: Voice, tmp_path: Path
) -> None:
    settings = BiasSettings(groups=GROUPS)
    found, labels = swap_requests(dataset, "test", voice, None, tmp_path, settings)
    assert labels == ["good", "fair", "poor"]
    sentences = json.loads(OWN.read_text(encoding="utf-8"))["sentences"]
    assert Counter(Swap.of(one.id).group for one in found) == dict.fromkeys(
        GROUPS["origin"], len(sentences)
    )
    for one in found:
        swap = Swap.of(one.id)
        prompt = voice.decode(one.prompt)
        assert sentences[swap.number - 1].replace("{group}", swap.group) in prompt
        assert "good, fair or poor?" in prompt
        assert len(one.choices) == 3


def test_own_templates_are_read_and_bad_ones_named(
    dataset: Dataset, voice: Voice, tmp_path: Path
) -> None:
    settings = BiasSettings(groups=GROUPS, templates_path="own.jsonl")
    file = tmp_path / "own.jsonl"
    file.write_text('{"template": "The {group} soup."}\n', encoding="utf-8")
    found, _ = swap_requests(dataset, "test", voice, None, tmp_path, settings)
    assert "The Chinese soup." in voice.decode(found[1].prompt)
    file.write_text('{"template": "The {grop} soup."}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"own.jsonl: row 1 has no \{group\} in its template"):
        swap_requests(dataset, "test", voice, None, tmp_path, settings)
    file.write_text('{"text": "The soup."}\n', encoding="utf-8")
    with pytest.raises(DataError, match="row 1 has no template"):
        swap_requests(dataset, "test", voice, None, tmp_path, settings)


def test_groups_that_cannot_be_swapped_are_refused() -> None:
    for groups in ({"a": ("x",)}, {"a": ("x", "x")}, {}):
        with pytest.raises(ValidationError):
            BiasSettings(groups=groups)


def test_every_model_answers_the_same_sentences(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    tiny_onnx: Onnx,
    context: Context,
    tmp_path: Path,
) -> None:
    settings = EvaluationSettings(max_samples=4, bias=BiasSettings(groups=GROUPS), slices=None)
    inputs = (tiny_base, dataset, tokens, tiny_adapter)
    evaluation = evaluate(*inputs, settings, out=tmp_path / "evaluation", context=context)
    proof = VerificationSettings(
        parity_prompts=2, parity_new_tokens=2, speed_prompt_tokens=4, speed_seconds=0.01
    )
    rest = (tiny_base, tokens, tiny_adapter, evaluation, tiny_onnx)
    verified = verify(*rest, proof, out=tmp_path / "verification", context=context)
    assert list(evaluation.facts["bias"]["models"]) == ["base", "tuned"]
    tuned = read_answers(evaluation.path / "bias" / "tuned.parquet")
    exported = read_answers(verified.path / "bias" / "fp32.parquet")
    assert [one.id for one in tuned] == [one.id for one in exported]
    for ours, theirs in zip(exported, tuned, strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
    facts = verified.facts["variants"]["fp32"]["bias"]["axes"]["origin"]
    before = evaluation.facts["bias"]["models"]["tuned"]["axes"]["origin"]
    assert facts["gaps"][0]["difference"] == pytest.approx(
        before["gaps"][0]["difference"], abs=1e-3
    )
    assert len(facts["gaps"]) == 9
    assert pq.read_table(evaluation.path / "bias" / "requests.parquet").num_rows == 42
