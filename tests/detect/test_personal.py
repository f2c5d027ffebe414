"""Personal data: cases in `cases/personal.json`; `~` there keeps scanners off made-up secrets."""

import json
from pathlib import Path

import pytest

from components.contracts.errors import DataError, RecipeError
from components.validation.detect.numbers import luhn
from components.validation.detect.personal import KINDS, personal_data
from components.validation.detect.presidio import presidio_data

CASES = json.loads((Path(__file__).parent / "cases" / "personal.json").read_text())


@pytest.mark.parametrize("kind", CASES)
def test_found_and_masked(kind: str) -> None:
    cases = {text.replace("~", ""): value for text, value in CASES[kind]["found"].items()}
    assert dict(zip(cases, personal_data(list(cases), [kind]), strict=True)) == cases


@pytest.mark.parametrize("kind", CASES)
def test_not_flagged(kind: str) -> None:
    texts = CASES[kind]["not"]
    assert dict(zip(texts, personal_data(texts, [kind]), strict=True)) == dict.fromkeys(texts)


def test_every_kind_has_cases() -> None:
    assert set(KINDS) == set(CASES)


def test_several_kinds_are_named_in_order() -> None:
    text = "mail jo@x.de or call 555-867-5309"
    assert personal_data([text], ["phone", "email"]) == ["phone 55…09; email j…@x.de"]


@pytest.mark.parametrize("shape", ["ghp_" + "a1B2" * 9, "AIza" + "b" * 35, "hf_" + "c" * 34])
def test_tokens_are_masked(shape: str) -> None:
    found = personal_data([f"use {shape} here"], ["secret"])[0]
    assert found is not None
    assert shape[:4] in found
    assert shape not in found


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'email'"):
        personal_data(["x"], ["e-mail"])


def test_luhn_finds_every_single_wrong_digit() -> None:
    digits = "4111111111111111"
    assert luhn(digits)
    for place in range(16):
        wrong = str((int(digits[place]) + 1) % 10)
        assert not luhn(digits[:place] + wrong + digits[place + 1 :])


def test_presidio_names_its_extra_or_the_pipeline_when_missing() -> None:
    with pytest.raises(DataError, match=r"presidio|spaCy"):
        presidio_data(["Jo Doe"], model="no_such_pipeline")


def test_presidio_finds_what_its_patterns_find(tmp_path: Path) -> None:
    reason = "the extra `presidio` is not installed"
    pytest.importorskip("presidio_analyzer", reason=reason)
    spacy = pytest.importorskip("spacy", reason=reason)
    spacy.blank("en").to_disk(tmp_path / "blank")
    found = presidio_data(
        ["nothing", "write to jo.doe@mail.org"], ["EMAIL_ADDRESS"], model=str(tmp_path / "blank")
    )
    assert found == [None, "EMAIL_ADDRESS jo…"]
