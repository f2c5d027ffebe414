"""The ledger's rules on lines made by hand: what no template of ours should ever give."""

from typing import Any

import pytest

from components.contracts.errors import DataError
from components.tokenization.ledger import Ledger
from components.tokenization.settings import TokenizationSettings

SOUND = {
    "length": 9,
    "prompt_tokens": 5,
    "trained_tokens": 4,
    "truncated_tokens": 0,
    "eos_trained": True,
    "bos_doubled": False,
}


def ledger(**settings: Any) -> Ledger:
    return Ledger(TokenizationSettings(max_length=10, **settings))


def test_sound_rows_pass() -> None:
    book = ledger()
    assert book.admit(SOUND, "a.csv:1")
    book.check()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"trained_tokens": 0}, "no token is trained: 1 row: a.csv:2"),
        ({"eos_trained": False}, "end-of-sequence token is not trained"),
        ({"bos_doubled": True}, "beginning-of-sequence token is there twice"),
        ({"length": 11}, "longer than max_length"),
        ({"prompt_tokens": 0, "eos_trained": False}, "end-of-sequence token is not trained"),
    ],
)
def test_each_fault_stops_and_names_the_row(fault: dict[str, Any], said: str) -> None:
    book = ledger()
    book.admit(SOUND, "a.csv:1")
    book.admit(SOUND | fault, "a.csv:2")
    with pytest.raises(DataError) as error:
        book.check()
    assert said in str(error.value)
    assert "a.csv:2" in str(error.value)
    assert "a.csv:1" not in str(error.value)
    assert error.value.fix


def test_plain_text_that_was_cut_need_not_end() -> None:
    book = ledger(truncation="truncate_prompt")
    cut = {"prompt_tokens": 0, "truncated_tokens": 3, "eos_trained": False}
    assert book.admit(SOUND | cut, "a.csv:1")
    book.check()


def test_many_faults_are_counted_and_the_longest_row_named() -> None:
    book = ledger()
    for row in range(1, 9):
        book.admit(SOUND | {"length": 10 + row}, f"a.csv:{row}")
    with pytest.raises(DataError) as error:
        book.check()
    assert "8 rows: a.csv:1 (11 tokens)" in str(error.value)
    assert "a.csv:6" not in str(error.value)
    assert "max_length to 18 or more" in str(error.value.fix)
