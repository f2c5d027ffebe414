"""Labels of classification rows: words, numbers in bins, values that stand for words."""

from typing import Any

import pytest
from made_examples import NAMES, settings
from pydantic import ValidationError

from components.formats.example import RowError
from components.formats.read import read


@pytest.mark.parametrize(
    ("rating", "label"),
    [
        ("-4", "negative"),
        ("-0.51", "negative"),
        ("-0.5", "neutral"),
        (0, "neutral"),
        (0.5, "neutral"),
        ("0.500001", "positive"),
        (4.0, "positive"),
    ],
)
def test_ratings_fall_into_bins(rating: Any, label: str) -> None:
    bins = {"column": "rating", "bins": [-0.5, 0.5], "names": NAMES}
    example = read(
        {"text": "x", "rating": rating}, settings({"kind": "classification", "label": bins})
    )
    assert (example.answer, example.choices[example.target]) == (label, label)


@pytest.mark.parametrize("rating", ["much", "", "nan", "inf", True])
def test_a_rating_must_be_a_number(rating: Any) -> None:
    bins = {"column": "rating", "bins": [0], "names": ["low", "high"]}
    with pytest.raises(RowError, match="not a number") as error:
        read({"text": "x", "rating": rating}, settings({"kind": "classification", "label": bins}))
    assert error.value.kind == "label"


def test_an_unknown_label_lists_the_known_ones() -> None:
    known = settings({"kind": "classification", "label": {"column": "label", "names": NAMES}})
    with pytest.raises(RowError) as error:
        read({"text": "x", "label": "positiv"}, known)
    assert error.value.kind == "label"
    assert error.value.value == "positiv"
    assert "did you mean 'positive'?" in str(error.value)
    assert "negative, neutral, positive" in str(error.value)


def test_label_values_are_translated() -> None:
    label = {"column": "label", "names": ["no", "yes"], "values": {0: "no", 1: "yes"}}
    spam = settings({"kind": "classification", "label": label})
    assert read({"text": "x", "label": 1}, spam).answer == "yes"
    assert read({"text": "x", "label": "0"}, spam).answer == "no"
    with pytest.raises(RowError, match="label 2 in column 'label' is not known"):
        read({"text": "x", "label": 2}, spam)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"column": "r", "names": ["a", "b"], "bins": [0, 1]}, "2 names need 1 bins"),
        ({"column": "r", "names": ["a", "b", "c"], "bins": [1, 0]}, "bins must rise"),
        ({"column": "r", "names": ["a", "a"]}, "differ"),
        ({"column": "r", "names": ["a", "b"], "values": {"0": "c"}}, "not in names"),
    ],
)
def test_settings_that_cannot_work_are_refused(label: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings({"kind": "classification", "label": label})
