"""One setting written by the line itself leaves every other character as it was."""

import pytest
import yaml

from components.contracts.errors import RecipeError
from flows.recipe_edit import with_setting

BLOCK = """# about the line
training:
  lora_r: 16  # rank
  seed: 0

gate: {}
"""
PLACE = "data/initial/mine/adapter"


def edit(text: str, value: str | None) -> str:
    return with_setting(text, "training", "adapter_name_or_path", value, "recipes/mine.yaml")


def test_a_new_key_is_one_new_line() -> None:
    new = edit(BLOCK, PLACE)

    assert new.splitlines()[2] == f"  adapter_name_or_path: {PLACE}"
    assert [line for line in new.splitlines() if "adapter" not in line] == BLOCK.splitlines()


@pytest.mark.parametrize("value", ["data/initial/mine/other", None])
def test_a_key_that_is_there_gets_another_value(value: str | None) -> None:
    new = edit(edit(BLOCK, PLACE), value)

    assert yaml.safe_load(new)["training"]["adapter_name_or_path"] == value
    assert new.replace(value or "null", PLACE) == edit(BLOCK, PLACE)


def test_null_changes_nothing_where_there_is_no_key() -> None:
    assert edit(BLOCK, None) == BLOCK


@pytest.mark.parametrize("section", ["training: {}", "training: {seed: 1}"])
def test_flow_style(section: str) -> None:
    new = edit(f"{section}\ngate: {{}}\n", PLACE)

    assert yaml.safe_load(new)["training"] == {
        "adapter_name_or_path": PLACE,
        **yaml.safe_load(section)["training"],
    }
    assert new.endswith("gate: {}\n")


def test_an_alias_is_left_to_people() -> None:
    with pytest.raises(RecipeError, match="cannot be changed by itself"):
        edit("other: &shared {seed: 1}\ntraining: *shared\n", PLACE)
