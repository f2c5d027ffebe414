"""Exported encoder-decoders: torch's logits and answers, optimum's layout, each weight once."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from made_seq2seq import Exported, write_seq2seq

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from components.contracts.task_types import SEQ2SEQ
from components.model.opened import open_tuned
from components.model.torch_seq2seq import TorchSeq2Seq
from components.runtime.batch import Stop, generate_batch
from components.runtime.generate import Generation, generate
from components.runtime.labels import label_ids, label_logprobs
from components.runtime.lm import open_lm
from components.runtime.ort_seq2seq import DECODER, ENCODER, OrtSeq2Seq
from components.runtime.seq2seq_text import SourceModel
from components.runtime.served import open_served
from components.runtime.text import TextModel
from components.scoring.likelihoods import likelihoods

SOURCES = [[50, 60, 70, 1], [80, 1], [*range(20, 40), 1], [51, 61, 71, 1]]
TARGETS = [[9, 8, 7, 1], [6, 1], [5, 1], [9, 8, 1]]
CPU = torch.device("cpu")

Made = tuple[Onnx, TorchSeq2Seq]


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("t5-v1.1", "mt5", "umt5")]


@pytest.fixture(scope="module", params=["t5", *SLOW])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    if request.param == "t5":
        base, adapter, out = request.getfixturevalue("tiny_seq2seq")
    else:
        base, adapter, out = write_seq2seq(tmp_path_factory.mktemp("other"), request.param)
    return out, open_tuned(base, adapter, CPU)


@pytest.fixture(scope="module")
def files(exported: Made) -> OrtSeq2Seq:
    lm = open_lm(exported[0].variant("fp32"), threads=1)
    assert isinstance(lm, OrtSeq2Seq)
    return lm


def read_all(lm: Any) -> list[np.ndarray]:
    rows = [[*source, *target[:-1]] for source, target in zip(SOURCES, TARGETS, strict=True)]
    found = dict(lm.read((), rows, [len(target) for target in TARGETS]))
    return [found[index] for index in range(len(rows))]


def test_both_give_the_logits_of_transformers(exported: Made, files: OrtSeq2Seq) -> None:
    model = exported[1].model
    for source, target, ours, theirs in zip(
        SOURCES, TARGETS, read_all(exported[1]), read_all(files), strict=True
    ):
        with torch.no_grad():
            said = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).logits[0]
        np.testing.assert_allclose(ours, said.numpy(), atol=1e-4)
        np.testing.assert_allclose(theirs, said.numpy(), atol=1e-4)


def generated(model: Any, source: list[int], **how: Any) -> list[int]:
    """Return what transformers generates, up to the end of sequence and without it."""
    with torch.no_grad():
        whole = model.generate(
            torch.tensor([source]), max_new_tokens=9, do_sample=False, num_beams=1, **how
        )[0].tolist()
    ids = whole[1:]
    return ids[: ids.index(1)] if 1 in ids else ids


@pytest.mark.parametrize("penalty", [1.0, 1.7])
def test_answers_are_those_of_transformers(
    exported: Made, files: OrtSeq2Seq, penalty: float
) -> None:
    """One by one and together, with rows of all lengths: the cache is right."""
    how = Generation(max_new_tokens=9, repetition_penalty=penalty)
    wanted = [generated(exported[1].model, s, repetition_penalty=penalty) for s in SOURCES]
    assert len({tuple(answer) for answer in wanted}) > 1
    stop = frozenset({1})
    for lm in (files, exported[1]):
        assert [list(generate(lm, source, how, stop)) for source in SOURCES] == wanted
        together = dict(generate_batch(lm, SOURCES, how, Stop(stop)))
        assert [together[index] for index in range(len(SOURCES))] == wanted


def test_a_cache_can_go_on_in_several_ways(exported: Made, files: OrtSeq2Seq) -> None:
    for lm in (files, exported[1]):
        _, cache = lm.forward(np.array(SOURCES[:1]))
        once, after = lm.forward(np.array([[9]]), cache)
        lm.forward(np.array([[8]]), cache)
        again, _ = lm.forward(np.array([[9]]), cache)
        np.testing.assert_array_equal(once, again)
        several, _ = lm.forward(np.array([[7, 6]]), after)
        _, one_by_one = lm.forward(np.array([[7]]), after)
        last, _ = lm.forward(np.array([[6]]), one_by_one)
        np.testing.assert_allclose(several[:, -1:], last, atol=1e-4)


def test_rounded_weights_stay_near_and_are_smaller(exported: Made) -> None:
    expected = np.concatenate(read_all(exported[1]))
    off = {}
    for name in ("int8", "int4"):
        found = np.concatenate(read_all(open_lm(exported[0].variant(name), threads=1)))
        off[name] = float(np.abs(found - expected).max())
    assert 0 < off["int8"] < off["int4"]
    assert off["int8"] < 0.25 * np.abs(expected).max()
    facts = exported[0].facts["variants"]
    assert facts["int8"]["bytes"] < facts["fp32"]["bytes"]
    assert facts["fp32"]["nodes"] > 100


def test_the_layout_is_optimums_and_no_weight_is_there_twice(exported: Made) -> None:
    folder = exported[0].variant("fp32")
    names = {file.name for file in folder.iterdir()}
    assert {ENCODER, DECODER, "config.json", "generation_config.json", "tokenizer.json"} <= names
    graph = onnx.load(folder / DECODER).graph
    layers = [
        f"{block}.{whose}.{kind}"
        for block in range(2)
        for whose in ("decoder", "encoder")
        for kind in ("key", "value")
    ]
    given = {"encoder_attention_mask", "input_ids", "encoder_hidden_states", "use_cache_branch"}
    assert {i.name for i in graph.input} == given | {f"past_key_values.{one}" for one in layers}
    assert [o.name for o in graph.output] == ["logits", *(f"present.{one}" for one in layers)]
    weights = [tensor.raw_data for tensor in graph.initializer]
    assert len(weights) == len(set(weights))
    assert all(
        len(tensor.raw_data) < 1024
        for node in graph.node
        for attribute in node.attribute
        for tensor in attribute.g.initializer
    )


def test_choices_are_weighed_as_one_by_one(exported: Made, files: OrtSeq2Seq) -> None:
    choices = [[(9, 8), (9,), (7, 6, 5)]] * len(SOURCES)
    prompts = [tuple(source) for source in SOURCES]
    for found, expected in zip(
        likelihoods(files, prompts, choices),
        likelihoods(exported[1], prompts, choices),
        strict=True,
    ):
        assert [f.logprob for f in found] == pytest.approx([e.logprob for e in expected], abs=1e-3)


def test_a_folder_answers_by_itself(exported: Made) -> None:
    folder = exported[0].variant("int8")
    model = open_served(folder, threads=1)
    assert isinstance(model, SourceModel)
    turns = [{"role": "system", "content": "Be."}, {"role": "user", "content": "tea"}]
    ids = model.prompt_ids(turns)
    assert ids == [*model.encode("Be.\n\ntea", add_special_tokens=False), 1]
    assert model.answer(turns, max_new_tokens=5) == model.answer("Be.\n\ntea", max_new_tokens=5)
    labels = label_ids(model, turns, ["no", "yes"])
    (index, logprobs), *_ = label_logprobs(model, [ids], labels)
    assert index == 0
    found = dict(model.model.read((), [[*ids, *label[:-1]] for label in labels], [2, 3]))
    scores = found[0] - np.logaddexp.reduce(found[0], axis=-1, keepdims=True)
    assert logprobs[0] == pytest.approx(scores[[0, 1], list(labels[0])].sum(), abs=1e-4)
    with pytest.raises(ModelError, match="no text"):
        model.prompt_ids("")


def test_other_folders_are_told_apart(tiny_onnx: Onnx, exported: Made, tmp_path: Path) -> None:
    assert type(open_served(tiny_onnx.variant("fp32"))) is TextModel
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        OrtSeq2Seq(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no exported encoder-decoder"):
        OrtSeq2Seq(tmp_path)


@pytest.mark.slow
def test_an_export_has_the_same_bytes_again(tiny_seq2seq: Exported, tmp_path: Path) -> None:
    again = write_seq2seq(tmp_path)
    assert again[-1].files == tiny_seq2seq[-1].files


def test_every_family_that_is_fetched_can_be_exported() -> None:
    from components.export.kinds import SEQ2SEQS

    assert sorted(SEQ2SEQS) == sorted(SEQ2SEQ)
