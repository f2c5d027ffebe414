"""Perplexity against lm-eval itself, and strided windows against a plain reading."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_harness import make_model, run_reference, sentence, write_task
from transformers import AutoTokenizer

from components.contracts.errors import RecipeError
from components.model.base import load_base
from components.model.torch_lm import TorchLM
from components.scoring.documents import Document, Reading, count_words, score_documents
from components.scoring.measures import MEASURES
from components.scoring.windows import windows

WINDOW = 24
PREFIX = 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("harness") / "model")


@pytest.fixture(scope="module")
def lm(folder: Path) -> TorchLM:
    return TorchLM(load_base(folder, dtype=torch.float32, device=torch.device("cpu")))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Documents shorter than the window, just as long, and several times as long."""
    rng = random.Random(1)
    return [sentence(rng, 2, 120) for _ in range(12)] + [" two  ends ", "one"]


@pytest.fixture(scope="module")
def documents(folder: Path, texts: list[str]) -> list[Document]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        Document(str(at), tuple(tokenizer.encode(t)), count_words(t), len(t.encode()))
        for at, t in enumerate(texts)
    ]


def measured(nll: list[float], documents: list[Document]) -> dict[str, float]:
    counted = {
        "token_perplexity": [len(document.tokens) for document in documents],
        "word_perplexity": [document.words for document in documents],
        "byte_perplexity": [document.bytes for document in documents],
        "bits_per_byte": [document.bytes for document in documents],
    }
    return {
        name: float(MEASURES[name].value(np.array([sum(nll), sum(counts)])))
        for name, counts in counted.items()
    }


@pytest.fixture(scope="module")
def reference(folder: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("lm_eval", reason="lm-eval is in the dev extra")
    tasks = tmp_path_factory.mktemp("tasks")
    write_task(
        tasks,
        "texts",
        [{"text": text} for text in texts],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="text",
        metric_list=[
            {"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")
        ],
    )
    return run_reference(folder, tasks, ["texts"], max_length=WINDOW)


def test_the_figures_are_those_of_lm_eval(
    lm: TorchLM, documents: list[Document], reference: Any
) -> None:
    assert sum(len(document.tokens) > 3 * WINDOW for document in documents) > 3
    nll = score_documents(lm, documents, Reading(PREFIX, WINDOW))
    found, expected = measured(nll, documents), reference["results"]["texts"]
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert found[name] == pytest.approx(expected[f"{name},none"], rel=1e-6), name
    by_document = [sample["word_perplexity"][0] for sample in reference["samples"]["texts"]]
    assert by_document == pytest.approx([-value for value in nll], abs=1e-3)


def test_another_prefix_token_is_another_number(lm: TorchLM, documents: list[Document]) -> None:
    one = score_documents(lm, documents, Reading(PREFIX, WINDOW))
    other = score_documents(lm, documents, Reading(1, WINDOW))
    assert abs(sum(one) - sum(other)) > 1


@pytest.mark.parametrize("stride", [1, 5, 24])
def test_strided_windows_against_a_plain_reading(
    lm: TorchLM, documents: list[Document], stride: int
) -> None:
    some = documents[:3]
    found = score_documents(lm, some, Reading(PREFIX, WINDOW, stride))
    for document, nll in zip(some, found, strict=True):
        assert nll == pytest.approx(plain(lm, document.tokens, stride), abs=1e-3)


def plain(lm: TorchLM, ids: tuple[int, ...], stride: int) -> float:
    """Score one token after another, each behind what its window holds before it."""
    text, total, end = [PREFIX, *ids], 0.0, min(WINDOW, len(ids))
    for at in range(1, len(text)):
        while at > end:
            end = min(end + stride, len(ids))
        seen = text[max(0, end - WINDOW) : at]
        with torch.no_grad():
            logits = lm.model(torch.tensor([seen])).logits[0, -1].double()
        total -= float(logits.log_softmax(-1)[text[at]])
    return total


def test_more_context_is_read_with_a_shorter_stride() -> None:
    disjoint = list(windows(range(10), prefix_token=99, max_length=4))
    assert [(w.context, w.predicted) for w in disjoint] == [
        ((99,), (0, 1, 2, 3)),
        ((3,), (4, 5, 6, 7)),
        ((5, 6, 7), (8, 9)),
    ]
    strided = list(windows(range(7), prefix_token=99, max_length=4, stride=2))
    assert [(w.context, w.predicted) for w in strided] == [
        ((99,), (0, 1, 2, 3)),
        ((1, 2, 3), (4, 5)),
        ((2, 3, 4, 5), (6,)),
    ]
    assert all(len(w.read) <= 4 for w in strided)


@pytest.mark.parametrize("stride", [0, 5])
def test_a_stride_that_leaves_tokens_out_is_refused(stride: int) -> None:
    with pytest.raises(RecipeError, match="stride"):
        list(windows(range(10), prefix_token=99, max_length=4, stride=stride))


def test_an_empty_text_has_no_windows() -> None:
    assert list(windows([], prefix_token=99, max_length=4)) == []


def test_words_are_counted_as_lm_eval_counts_them() -> None:
    assert count_words("one  two\nthree") == 3
    assert count_words(" one ") == 3
    assert count_words("") == 1
