"""The ledger's rules on lines made by hand: what no template of ours should ever give."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.contracts.errors import DataError
from components.tokenization.columns import Flat, Ledger, flatten, make_ledger
from components.tokenization.ledger import Audit
from components.tokenization.lines import Line
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokens

BOS, EOS, STOP = 1, 2, 3
TOKENS = Tokens(bos=BOS, eos=EOS, pad=EOS, stop=(EOS, STOP), adds_bos=True)
SOUND = Line(
    head=[BOS, 8, 8, 7, 7, STOP, 8, 8],
    tail=[7, EOS],
    prompt_tokens=8,
    answer=[7, EOS],
    earlier=[(3, 6)],
    parts=[(3, 6)],
    answers=2,
    needed=10,
)


def audit(**settings: Any) -> Audit:
    return Audit(TokenizationSettings(max_length=10, **settings))


def ledger(*lines: Line, **settings: Any) -> tuple[Ledger, Flat]:
    chosen = TokenizationSettings(max_length=10, **settings)
    flat = flatten(lines, chosen)
    return make_ledger(lines, flat, TOKENS, chosen), flat


def place(row: int) -> str:
    return f"a.csv:{row + 1}"


def test_sound_rows_pass() -> None:
    book = audit()
    rows, flat = ledger(SOUND, SOUND)
    assert book.admit(rows, place).all()
    book.check()
    assert rows.trained_tokens.tolist() == [5, 5]
    assert rows.trained_answers.tolist() == [2, 2]
    assert flat.row(1)[1].nonzero()[0].tolist() == [3, 4, 5, 8, 9]


FAULTS = {
    "all labels masked": ({"parts": [], "tail_parts": []}, "no token is trained"),
    "nothing but a beginning": (
        {"head": [EOS], "tail": [], "prompt_tokens": 0, "earlier": [], "parts": [], "answers": 0},
        "no token is trained",
    ),
    "last answer never stops": ({"tail": [7, 7]}, "end-of-sequence token is not trained"),
    "its stop is masked": ({"tail_parts": [(0, 1)]}, "end-of-sequence token is not trained"),
    "earlier answer never stops": (
        {"head": [BOS, 8, 8, 7, 7, 7, 8, 8]},
        "end-of-sequence token is not trained",
    ),
    "earlier stop is masked": ({"parts": [(3, 5)]}, "end-of-sequence token is not trained"),
    "plain text never stops": (
        {"head": [BOS], "tail": [8, 8], "prompt_tokens": 0, "earlier": [], "parts": []},
        "end-of-sequence token is not trained",
    ),
    "two beginnings": (
        {"head": [BOS, BOS, 8, 7, 7, STOP, 8, 8]},
        "beginning-of-sequence token is there twice",
    ),
    "two beginnings before the answer": (
        {"head": [BOS, 8, 8, 7, 7, STOP, BOS, BOS]},
        "beginning-of-sequence token is there twice",
    ),
    "too long": ({"needed": 11}, "longer than max_length (10 tokens)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_stops_and_names_the_row(name: str) -> None:
    fault, said = FAULTS[name]
    book = audit()
    rows, _ = ledger(SOUND, replace(SOUND, **fault), SOUND)
    book.admit(rows, place)
    with pytest.raises(DataError) as error:
        book.check()
    assert said in str(error.value)
    assert "1 row: a.csv:2" in str(error.value)
    assert error.value.fix


def test_the_beginning_of_the_next_row_is_not_a_second_one() -> None:
    plain = Line(head=[EOS], tail=[BOS], needed=2)
    rows, _ = ledger(plain, SOUND)
    assert not rows.bos_doubled.any()


def test_one_token_for_beginning_and_end_counts_only_at_the_front() -> None:
    both = replace(TOKENS, bos=EOS)
    lines = [
        replace(SOUND, head=[EOS, 8, 8, 7, 7, EOS, EOS, 8]),
        replace(SOUND, head=[EOS, EOS, 8, 7, 7, EOS, 8, 8]),
    ]
    settings = TokenizationSettings()
    rows = make_ledger(lines, flatten(lines, settings), both, settings)
    assert rows.bos_doubled.tolist() == [False, True]


def test_a_missing_beginning_is_counted_not_refused() -> None:
    rows, _ = ledger(SOUND, replace(SOUND, head=[8, 8, 8, 7, 7, STOP, 8, 8]))
    assert rows.without_bos.tolist() == [False, True]
    book = audit()
    book.admit(rows, place)
    book.check()


def test_plain_text_that_was_cut_need_not_end() -> None:
    rows, _ = ledger(Line(head=[BOS], tail=[8, 8], cut=3, needed=3))
    book = audit(truncation="truncate_prompt")
    assert book.admit(rows, place).all()
    book.check()


def test_rows_to_drop_are_dropped_and_their_faults_with_them() -> None:
    rows, _ = ledger(SOUND, replace(SOUND, tail=[7, 7], needed=11))
    book = audit(truncation="drop")
    assert book.admit(rows, place).tolist() == [True, False]
    book.check()


def test_a_rejected_answer_counts_for_the_length() -> None:
    book = audit(truncation="truncate_prompt")
    book.admit(ledger(replace(SOUND, rejected=[7] * 9 + [EOS], needed=11))[0], place)
    with pytest.raises(DataError, match="answer alone would be cut at 10 tokens"):
        book.check()


def test_many_faults_are_counted_and_the_longest_row_named() -> None:
    book = audit()
    rows, _ = ledger(*(replace(SOUND, needed=10 + row) for row in range(1, 9)))
    for _ in range(2):
        book.admit(rows, place)
    with pytest.raises(DataError) as error:
        book.check()
    assert "16 rows: a.csv:1 (11 tokens)" in str(error.value)
    assert "a.csv:6" not in str(error.value)
    assert "max_length to 18 or more" in str(error.value.fix)


def test_the_whole_conversation_but_its_first_token_can_be_trained() -> None:
    rows, flat = ledger(SOUND, SOUND, assistant_only_loss=False)
    assert rows.trained_tokens.tolist() == [9, 9]
    assert np.flatnonzero(~flat.trained).tolist() == [0, 10]
    assert rows.trained_answers.tolist() == [2, 2]
