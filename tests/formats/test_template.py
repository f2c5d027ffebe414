"""Templates: one pass, and every way back."""

import pytest

from components.formats.template import fill, need, unfill


def test_filling_takes_one_pass() -> None:
    values = {"a": "{b}", "b": "\\1 {a}"}
    assert fill("{a}{b} {c} {{a}}", values) == "{b}\\1 {a} {c} {{b}}"


def test_every_way_back_is_given_in_order() -> None:
    ways = list(unfill("{a}-{b}", ["a", "b"], "1-2-3"))
    assert ways == [{"a": "1", "b": "2-3"}, {"a": "1-2", "b": "3"}]


@pytest.mark.parametrize(
    ("template", "text", "ways"),
    [
        ("<{a}>", "<<x>>", [{"a": "<x>"}]),
        ("<{a}>", "x>", []),
        ("<{a}>", "<", []),
        ("{a}{a}", "xyxy", [{"a": "xy"}]),
        ("{a}={a}", "x=y", []),
        ("same", "same", [{}]),
        ("{a}{b}", "x", [{"a": "", "b": "x"}, {"a": "x", "b": ""}]),
    ],
)
def test_what_does_not_fit_has_no_way_back(
    template: str, text: str, ways: list[dict[str, str]]
) -> None:
    assert list(unfill(template, ["a", "b"], text)) == ways


def test_missing_places_are_all_named() -> None:
    need("{a} {b}", ["a", "b"])
    with pytest.raises(ValueError, match=r"template must contain \{a\} and \{b\}"):
        need("{ a} b", ["a", "b"])
