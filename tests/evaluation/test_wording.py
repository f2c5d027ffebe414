"""The same words in the same tokenizer are the same tokens: nothing is lost on the way as text."""

from pathlib import Path
from typing import Any

import pytest
from tiny_harness import write_rows

from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Dataset, Onnx, Tokens
from components.evaluation.prepare import Sources, prepare
from components.evaluation.settings import EvaluationSettings
from components.scoring.items import Item
from components.scoring.questions import read_questions, retell_items, write_questions
from components.scoring.tables import read_items
from components.scoring.voice import load_voice
from components.scoring.wording import Stranger, prefix_of, retell
from components.verification.champion import Rival

TASKS: list[dict[str, Any]] = [
    {"task": "choice", "num_fewshot": 2},
    {"task": "choice", "name": "plain", "apply_chat_template": False, "num_fewshot": 1},
    {"task": "generation", "max_new_tokens": 4},
    {"task": "generation", "name": "long", "dataset_path": "long.jsonl"},
    {"task": "canary", "canaries": [{"prefix": "The PIN is", "secret": "4711"}]},
    {"task": "perplexity", "name": "texts", "dataset_path": "texts.jsonl", "max_length": 64},
]


def test_tasks_retold_to_the_same_voice_are_the_same(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, tmp_path: Path
) -> None:
    write_rows(tmp_path / "long.jsonl", [{"prompt": "word " * 600, "completion": "x"}])
    write_rows(tmp_path / "texts.jsonl", [{"text": "Once upon a time."}])
    settings = EvaluationSettings.model_validate({"tasks": TASKS})
    voice = load_voice(tiny_base.model)
    limit = int(tiny_base.facts["max_position_embeddings"])
    same = Stranger(voice, limit, prefix_of(voice))
    assert same.prefix_token == tokens.facts["prefix_token"]
    for asked in prepare(Sources(tiny_base, dataset, tokens, voice, tmp_path, settings)):
        assert all(request.wording for request in asked.requests), asked.plan.name
        assert retell(asked.plan, asked.requests, same) == (asked.plan, asked.requests)


def test_rows_retold_to_the_same_voice_are_the_same(
    tiny_base: BaseModelFolder, dataset: Dataset, tokens: Tokens, tmp_path: Path
) -> None:
    items = read_items(tokens, "test", 12, texts=5)
    write_questions(tmp_path / "questions.parquet", dataset.split("test"), items)
    questions = read_questions(tmp_path / "questions.parquet")
    assert retell_items(questions, items, load_voice(tiny_base.model)) == items
    assert retell_items(questions[:-1], items, load_voice(tiny_base.model)) is None


@pytest.mark.parametrize("kept", [True, False])
def test_where_the_words_are_not_kept_it_is_told(
    tiny_onnx: Onnx, dataset: Dataset, tmp_path: Path, kept: bool
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text("{}")
    item = Item("nobody", (1, 40), (70, 2), (), -1, (), 0)
    if kept:  # but of other rows
        write_questions(tmp_path / "questions.parquet", dataset.split("test"), [item])
    rival = Rival(tiny_onnx.variant("fp32"), other, "cpu", tmp_path / "questions.parquet")
    found = rival.answer([item], 2, None, tmp_path, Context(tmp_path, tmp_path, Heard()))
    assert found["compared"] is False
    assert "another tokenizer" in found["reason"]
