"""Plain text for a masked-language model: transformers' ids, cuts, faults."""

import json
from pathlib import Path

import pytest
from made_masked import random_masked
from test_labelled import row, tokenised

from components.contracts.errors import DataError, ModelError
from components.contracts.kinds import BaseModelFolder
from components.scoring.tables import read_items
from components.tokenization.texts import load_masked_tokenizer


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_masked(tmp_path_factory.mktemp("masked") / "base")


def plain(number: int, text: str) -> dict[str, object]:
    nothing = {"messages": "[]", "answer": "", "choices": [], "target": -1, "references": []}
    return row(number, text, **nothing)


def test_a_text_is_read_whole_and_all_but_special_tokens_may_be_hidden(
    bert: BaseModelFolder, tmp_path: Path
) -> None:
    tokens = tokenised(tmp_path, bert, [plain(1, "a day"), plain(2, "é[MASK]")])
    hf = load_masked_tokenizer(bert.model).hf
    items = read_items(tokens, "test", None)
    assert [list(item.text) for item in items] == hf(["a day", "é[MASK]"])["input_ids"]
    assert all(item.prompt == item.answer == () for item in items)
    assert tokens.facts["splits"]["train"]["trained_tokens"] == len("a day") + 2
    assert tokens.facts["mask_token"] == 3
    assert tokens.facts["special_tokens"] == [0, 1, 2, 3, 4]
    assert tokens.facts["vocabulary_size"] == 261


def test_a_long_text_is_cut_at_its_end_or_stops_the_line(
    bert: BaseModelFolder, tmp_path: Path
) -> None:
    rows = [plain(1, "short"), plain(2, "long " * 20)]
    with pytest.raises(DataError, match=r"longer than max_length \(40 tokens\).*rows.jsonl:2"):
        tokenised(tmp_path / "error", bert, rows)
    cut = tokenised(tmp_path / "cut", bert, rows, truncation="truncate_prompt")
    ids = read_items(cut, "test", None)[1].text
    assert (len(ids), ids[0], ids[-1]) == (40, 1, 2)


def test_conversations_and_tokenizers_without_a_mask_are_refused(
    bert: BaseModelFolder, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl:2 has turns.*\n.*kind: text"):
        tokenised(tmp_path, bert, [plain(1, "a"), row(2, "b")])
    told = json.loads((bert.model / "tokenizer_config.json").read_text())
    del told["mask_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    (tmp_path / "tokenizer.json").write_text((bert.model / "tokenizer.json").read_text())
    with pytest.raises(ModelError, match="no mask_token"):
        load_masked_tokenizer(tmp_path)
