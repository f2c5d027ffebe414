"""Rows for an encoder-decoder: source and target as transformers makes them, cuts, faults."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_seq2seq import EOS, random_t5

from components.contracts.errors import DataError, ModelError, RecipeError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.contracts.tables import dataset_schema
from components.scoring.tables import read_items
from components.tokenization.pairs import load_pair_tokenizer
from components.tokenization.settings import TokenizationSettings
from components.tokenization.show import masked_pieces
from components.tokenization.tokenize import tokenize

Turns = list[dict[str, Any]]
ASKED: Turns = [{"role": "user", "content": "translate: tea"}]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_t5(tmp_path_factory.mktemp("t5") / "base")


def row(number: int, turns: Turns, answer: str, **changes: Any) -> dict[str, Any]:
    messages = [*turns, {"role": "assistant", "content": answer}] if turns else []
    values = {
        "id": f"row{number}",
        "source": "rows.jsonl",
        "row": number,
        "text": "tea",
        "messages": json.dumps(messages),
        "answer": answer,
        "choices": [],
        "target": -1,
        "rejected": "",
        "references": [answer],
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
    asked = TokenizationSettings(**{"max_length": 60, **settings})
    context = Context(folder, folder, events=Heard())
    return tokenize(base, dataset, asked, out=folder / "tokens", context=context)


def test_source_and_target_are_as_transformers_encodes_them(
    t5: BaseModelFolder, tmp_path: Path
) -> None:
    turns: Turns = [{"role": "system", "content": "Be kind."}, *ASKED]
    labelled = row(2, ASKED, "no", choices=["no", "yes"], target=0)
    tokens = tokenised(tmp_path, t5, [row(1, turns, "Tee é"), labelled])
    hf = load_pair_tokenizer(t5.model).hf
    first, second = read_items(tokens, "test", None)
    assert list(first.prompt) == hf("Be kind.\n\ntranslate: tea")["input_ids"]
    assert list(first.answer) == hf("Tee é")["input_ids"]
    assert first.prompt[-1] == first.answer[-1] == EOS
    assert [list(one) for one in second.choices] == [
        hf(word, add_special_tokens=False)["input_ids"] for word in ("no", "yes")
    ]
    assert first.text == ()
    assert tokens.facts["splits"]["train"]["trained_tokens"] == len(first.answer) + 3
    pieces = masked_pieces(tokens, t5, "train", 1)
    assert "".join(piece.text for piece in pieces if piece.trained) == "Tee é</s>"
    assert {piece.role for piece in pieces if piece.trained} == {"assistant"}


def test_a_long_source_stops_the_line_is_dropped_or_cut_before_its_end(
    t5: BaseModelFolder, tmp_path: Path
) -> None:
    long = [{"role": "user", "content": "sum up: " + "long " * 20}]
    rows = [row(1, ASKED, "x"), row(2, long, "short")]
    with pytest.raises(DataError, match=r"longer than max_length \(60 tokens\).*rows.jsonl:2"):
        tokenised(tmp_path / "error", t5, rows)
    dropped = tokenised(tmp_path / "drop", t5, rows, truncation="drop")
    assert dropped.facts["splits"]["train"]["rows"] == 1
    cut = tokenised(tmp_path / "cut", t5, rows, truncation="truncate_prompt")
    item = read_items(cut, "train", None)[1]
    assert len(item.prompt) + len(item.answer) == 60
    whole = load_pair_tokenizer(t5.model).hf(long[0]["content"])["input_ids"]
    assert list(item.prompt) == [*whole[: len(item.prompt) - 1], EOS]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (row(2, [], ""), "rows.jsonl:2 is plain text"),
        (row(2, [ASKED[0] | {"tools": [{"function": {}}]}], "x"), "rows.jsonl:2 has tools"),
    ],
)
def test_rows_that_cannot_be_read_so_are_named(
    t5: BaseModelFolder, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        tokenised(tmp_path, t5, [row(1, ASKED, "x"), wrong])


def test_a_source_is_never_trained(t5: BaseModelFolder, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="assistant_only_loss: true"):
        tokenised(tmp_path, t5, [row(1, ASKED, "x")], assistant_only_loss=False)


def test_a_tokenizer_that_ends_nothing_is_refused(t5: BaseModelFolder, tmp_path: Path) -> None:
    told = json.loads((t5.model / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(told | {"post_processor": None}))
    beside = (t5.model / "tokenizer_config.json").read_text()
    (tmp_path / "tokenizer_config.json").write_text(beside)
    with pytest.raises(ModelError, match="does not put an end-of-sequence token behind a text"):
        load_pair_tokenizer(tmp_path)
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        load_pair_tokenizer(tmp_path / "nowhere")
