"""What people are told: counts, first rows, lengths, and settings that agree with detectors."""

from itertools import pairwise
from typing import Any, get_args

import pytest
from planted import row, sentence, sound
from pydantic import ValidationError

from components.contracts.events import Context, Heard
from components.validation.detect.personal import KINDS
from components.validation.settings import PersonalData, ValidationSettings

DIRTY = [
    *sound(60),
    row("<b>bold</b> words of one kind or another &amp; more"),
    row(sentence(1)),
    row(sentence(2)),
    row(f"{sentence('mail')} jo.doe@fictive.net"),
]


def test_first_rows_stand_with_what_was_found(run: Any) -> None:
    facts = run(DIRTY, unescape_html=True).facts
    taken = facts["quarantined_rows"]
    assert taken["duplicate"] == [
        {"row": "demo.jsonl:62", "value": "demo.jsonl:2", "text": sentence(1)}
    ]
    assert [one["row"] for one in taken["label_conflict"]] == ["demo.jsonl:3", "demo.jsonl:63"]
    assert facts["warned_rows"]["html"][0]["value"] == "tag '<b>'"
    mail = facts["warned_rows"]["personal_data"][0]
    assert mail["row"] == "demo.jsonl:64"
    assert "jo.doe" not in mail["value"]
    assert facts["warnings"] == {"html": 1, "personal_data": 1}


def test_the_histogram_counts_every_kept_text_once(run: Any) -> None:
    facts = run(DIRTY).facts
    bars = facts["length_histogram"]
    assert sum(bar["rows"] for bar in bars) == facts["rows"]["kept"]
    assert all(bar["to"] == following["from"] for bar, following in pairwise(bars))
    assert bars[-1]["from"] <= facts["length"]["max"] < bars[-1]["to"]
    assert len(bars) <= 20


def test_one_page_in_the_terminal_says_what_and_where(run: Any, context: Context) -> None:
    run(DIRTY, unescape_html=True)
    assert isinstance(context.events, Heard)
    page = context.events.notes
    assert page[0].startswith("64 rows in, 61 kept (train ")
    assert "quarantined: 1 for duplicate: demo.jsonl:62 (demo.jsonl:2)" in page
    assert any(line.startswith("warning: 1 for html: demo.jsonl:61 (tag '<b>')") for line in page)
    assert "cleaned: 1 rows; 1 rows came with HTML entities" in page
    assert any(line.startswith("labels: bad ") for line in page)
    assert len(page) < 30


def test_kinds_of_personal_data_are_those_of_the_detectors() -> None:
    assert get_args(PersonalData) == KINDS
    with pytest.raises(ValidationError):
        ValidationSettings(personal_data=("shoe size",))


def test_kinds_that_are_not_asked_for_are_not_looked_for(run: Any) -> None:
    names = [one["expectation"] for one in run(DIRTY, personal_data=[]).facts["expectations"]]
    assert "personal_data" not in names
    phones = run(DIRTY, personal_data=["phone"]).facts
    assert "personal_data" not in phones["warnings"]
