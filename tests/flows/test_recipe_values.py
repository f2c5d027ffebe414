"""Settings written into a recipe leave everything else as it was."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.contracts.errors import RecipeError
from flows.recipe import parse_recipe
from flows.recipe_values import with_values, write_values, written

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_one_line_changes_and_one_is_added(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    new = with_values(
        text, {"training.learning_rate": 0.00037, "training.adam_beta2": 0.98}, file.name
    )
    wanted = yaml.safe_load(text)
    wanted["training"] |= {"learning_rate": 0.00037, "adam_beta2": 0.98}
    assert yaml.safe_load(new) == wanted
    before, after = text.splitlines(), new.splitlines()
    assert len(after) == len(before) + 1
    assert len(set(before) - set(after)) <= 1
    assert [line for line in before if "#" in line] == [line for line in after if "#" in line]


@pytest.mark.parametrize(
    ("text", "key", "value", "wanted"),
    [
        ("a:\n  x: 1 # why\n  y: 2\n", "a.x", 3, "a:\n  x: 3 # why\n  y: 2\n"),
        ("a: {x: 1, y: 2}\n", "a.y", [1, "b c"], 'a: {x: 1, y: [1, "b c"]}\n'),
        ("a: {x: 1}\n", "a.z", None, "a: {z: null, x: 1}\n"),
        ("a: {}\nb: 1\n", "a.z", True, "a: {z: true}\nb: 1\n"),
        ("a:\n  x: 1\n", "a.n.m", 0.5, "a:\n  n: {m: 0.5}\n  x: 1\n"),
        ("a:\n  n: null\n  x: 1\n", "a.n.m", 5, "a:\n  n: {m: 5}\n  x: 1\n"),
        ("a:\n  n:\n    m: 1\n    k: 2\n  x: 1\n", "a.n.m", 5,
         "a:\n  n:\n    m: 5\n    k: 2\n  x: 1\n"),
        ("a:\n  l:\n    - 1\n    - 2\n  # next\n  x: 1\n", "a.l", [3],
         "a:\n  l:\n    [3]\n  # next\n  x: 1\n"),
    ],
)  # fmt: skip
def test_every_place_that_a_value_can_stand_in(
    text: str, key: str, value: Any, wanted: str
) -> None:
    assert with_values(text, {key: value}, "x.yaml") == wanted


def test_an_alias_is_left_to_people() -> None:
    text = "b: &one {x: 1}\na: *one\n"
    with pytest.raises(RecipeError, match="cannot be changed by itself"):
        with_values(text, {"a.x": 2}, "x.yaml")


@pytest.mark.parametrize("value", [1e-05, 3e-4, 1e22, 0.5, 7, -2, None, True, "no", "linear", "1"])
def test_yaml_reads_back_what_is_written(value: Any) -> None:
    found = yaml.safe_load(written(value))
    assert found == value
    assert type(found) is type(value)


def test_a_file_is_replaced_by_a_valid_one_only(tmp_path: Path) -> None:
    sheet = tmp_path / "recipes" / "tiny.yaml"
    sheet.parent.mkdir()
    text = (ROOT / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    sheet.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError):
        write_values(tmp_path, "tiny", {"training.learning_rate": -1})
    assert sheet.read_text(encoding="utf-8") == text
    write_values(tmp_path, "tiny", {"training.learning_rate": 0.002})
    assert parse_recipe(sheet).training.learning_rate == 0.002
    assert [p.name for p in sheet.parent.iterdir()] == ["tiny.yaml"]
