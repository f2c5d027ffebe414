"""A tokenised row piece by piece."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_rows import chat, labelled, plain
from made_tokenizer import KINDS, made_tokenizer

from components.contracts.errors import DataError
from components.contracts.kinds import BaseModelFolder
from components.tokenization.show import decoded, marked, masked_pieces
from components.tokenization.tokenizer import load_tokenizer

ODD = "héé 你好 👩‍👩 a  b\n\tc ÅÅ x"


def test_pieces_say_what_is_trained(run: Any, tiny_base: BaseModelFolder) -> None:
    tokens = run([labelled("x"), chat("q", "é", "r", "ja")])
    pieces = masked_pieces(tokens, tiny_base, "train", 2)
    assert marked(pieces) == (
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n⟦é<|im_end|>⟧\n"
        "<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n⟦ja<|im_end|>⟧"
    )
    answers = [(p.text, p.turn, p.special) for p in pieces if p.role == "assistant"]
    assert answers == [
        ("é", 1, False),
        ("<|im_end|>", 1, True),
        ("j", 2, False),
        ("a", 2, False),
        ("<|im_end|>", 2, True),
    ]
    (letter,) = [p for p in pieces if p.text == "é"]
    assert len(letter.ids) == 2, "two bytes, so two tokens of this tokenizer"
    assert {p.turn for p in pieces if p.role == "prompt"} == {0}
    (line,) = pq.read_table(tokens.split("train")).slice(1).to_pylist()
    assert [token for piece in pieces for token in piece.ids] == line["input_ids"]


def test_plain_text_has_no_prompt(run: Any, tiny_base: BaseModelFolder) -> None:
    pieces = masked_pieces(run([plain("ab")]), tiny_base, "train", 1)
    assert {piece.role for piece in pieces} == {"text"}
    assert marked(pieces, ("[", "]")) == "a[b<|im_end|>]"


@pytest.mark.parametrize(("split", "row"), [("train", 0), ("train", 2), ("test", 1), ("tset", 1)])
def test_rows_that_are_not_there(
    run: Any, tiny_base: BaseModelFolder, split: str, row: int
) -> None:
    with pytest.raises(DataError) as error:
        masked_pieces(run([plain("ab")]), tiny_base, split, row)
    assert error.value.fix


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_whole_characters_and_make_up_the_text(kind: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(made_tokenizer(tmp_path, "", "<s>", "</s>", [], kind))
    (ids,) = tokenizer.encode([f"<|user|>{ODD}</s>"])
    pieces = decoded(tokenizer, ids)
    assert "".join(text for _, _, text in pieces) == tokenizer.decode(ids)
    assert not any("\ufffd" in text for _, _, text in pieces)
    assert [a for a, _, _ in pieces] == [0, *(b for _, b, _ in pieces)][:-1]
    assert len(pieces) > 10
