"""Rows with labels for an encoder: ids as transformers makes them, one label a row, faults."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_encoders import random_bert

from components.contracts.errors import DataError, ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.contracts.tables import dataset_schema
from components.scoring.tables import read_items
from components.tokenization.labelled import load_encoder_tokenizer
from components.tokenization.settings import TokenizationSettings
from components.tokenization.show import masked_pieces
from components.tokenization.tokenize import tokenize

NAMES = ["no", "yes"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_bert(tmp_path_factory.mktemp("bert") / "base")


def row(number: int, text: str, **changes: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"Is it? {text}"}, {"role": "assistant", "content": "yes"}]
    values = {
        "id": f"row{number}",
        "source": "rows.jsonl",
        "row": number,
        "text": text,
        "messages": json.dumps(turns),
        "answer": "yes",
        "choices": NAMES,
        "target": 1,
        "rejected": "",
        "references": ["yes"],
    }
    return values | changes


def tokenised(
    folder: Path, base: BaseModelFolder, rows: list[dict[str, Any]], **settings: Any
) -> Tokens:
    with Dataset.write(folder / "dataset") as draft:
        for split in ("train", "validation", "test"):
            table = pa.Table.from_pylist(rows, schema=dataset_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
    dataset = Dataset.open(folder / "dataset")
    asked = TokenizationSettings(**{"max_length": 40, **settings})
    context = Context(folder, folder, events=Heard())
    return tokenize(base, dataset, asked, out=folder / "tokens", context=context)


def test_ids_are_those_of_transformers_and_the_label_is_no_token(
    bert: BaseModelFolder, tmp_path: Path
) -> None:
    tokens = tokenised(tmp_path, bert, [row(1, "a day"), row(2, "é", target=0, answer="no")])
    hf = load_encoder_tokenizer(bert.model).hf
    items = read_items(tokens, "test", None)
    assert [list(item.prompt) for item in items] == hf(["Is it? a day", "Is it? é"])["input_ids"]
    assert [item.target for item in items] == [1, 0]
    assert all(item.answer == item.choices == item.text == () for item in items)
    assert tokens.facts["labels"] == NAMES
    assert tokens.facts["splits"]["train"]["trained_tokens"] == 2
    pieces = masked_pieces(tokens, bert, "train", 1)
    assert [pieces[0].text, pieces[-1].text] == ["[CLS]", "[SEP]"]
    assert not any(piece.trained for piece in pieces)


def test_a_long_text_stops_the_line_is_dropped_or_cut_at_its_end(
    bert: BaseModelFolder, tmp_path: Path
) -> None:
    rows = [row(1, "short"), row(2, "long " * 20)]
    with pytest.raises(DataError, match=r"longer than max_length \(40 tokens\).*rows.jsonl:2"):
        tokenised(tmp_path / "error", bert, rows)
    dropped = tokenised(tmp_path / "drop", bert, rows, truncation="drop")
    assert dropped.facts["splits"]["train"]["rows"] == 1
    cut = tokenised(tmp_path / "cut", bert, rows, truncation="truncate_prompt")
    ids = read_items(cut, "train", None)[1].prompt
    assert len(ids) == 40
    assert (ids[0], ids[-1]) == (1, 2), "the special tokens stay"
    assert cut.facts["truncated_rows"] == 3, "one in every split"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"choices": [], "target": -1}, "rows.jsonl:2 has no label"),
        ({"choices": ["a", "b", "c"]}, "rows.jsonl:2 has one of a, b, c.*one of no, yes"),
    ],
)
def test_rows_without_the_same_labels_are_named(
    bert: BaseModelFolder, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        tokenised(tmp_path, bert, [row(1, "a"), row(2, "b", **changes)])
    assert "kind: classification" in str(caught.value)


def test_a_tokenizer_without_what_the_head_reads_is_refused(
    bert: BaseModelFolder, tmp_path: Path
) -> None:
    settings = json.loads((bert.model / "tokenizer.json").read_text())
    settings["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer_config.json").write_text(
        (bert.model / "tokenizer_config.json").read_text()
    )
    with pytest.raises(ModelError, match=r"does not put its \[CLS\] before a text"):
        load_encoder_tokenizer(tmp_path)
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        load_encoder_tokenizer(tmp_path / "nowhere")
