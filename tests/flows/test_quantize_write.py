import pytest
import yaml

from components.contracts.errors import RecipeError
from flows.quantize_write import with_variant

SETTINGS = {
    "algo_config": "gptq",
    "block_size": 32,
    "matmul_mixed_precision": {"last_matmul": "int8"},
}

RECIPE = """# a line of models
model: {kind: random} # nothing to see
export: # files
  variants: [fp32, int8] # the first is the reference
  # what the cheap machine gets
  int8:
    algo_config: default
    block_size: 64 # two steps

gate:
  ship: int8 # for now
"""


def changed(text: str, variant: str = "int4", **more: object) -> str:
    return with_variant(text, variant, {**SETTINGS, **more}, "recipes/x.yaml")


def test_a_variant_goes_behind_the_others_and_nothing_else_changes() -> None:
    new = changed(RECIPE)
    told = yaml.safe_load(new)
    assert told["export"]["int4"] == SETTINGS
    assert told["export"]["variants"] == ["fp32", "int8", "int4"]
    added = [line for line in new.splitlines() if line not in RECIPE.splitlines()]
    assert added == [
        "  variants: [fp32, int8, int4] # the first is the reference",
        "  int4: {algo_config: gptq, block_size: 32, matmul_mixed_precision: {last_matmul: int8}}",
    ]
    gone = [line for line in RECIPE.splitlines() if line not in new.splitlines()]
    assert gone == ["  variants: [fp32, int8] # the first is the reference"]


def test_settings_that_stand_there_are_replaced() -> None:
    new = changed(RECIPE, "int8")
    assert yaml.safe_load(new)["export"]["int8"] == SETTINGS
    assert new.count("int8:") == RECIPE.count("int8:")
    assert "# what the cheap machine gets" in new
    assert "ship: int8 # for now" in new
    assert changed(new, "int8") == new


@pytest.mark.parametrize(
    "export",
    [
        "export: {}\n",
        "export: {variants: [fp32, int4]}\n",
        "export:\n",
        "",
        "export:\n  variants:\n    - fp32\n    - int4\n",
    ],
)
def test_any_way_of_writing_the_section_will_do(export: str) -> None:
    text = f"a: 1 # one\n{export}b: 2 # two\n"
    new = changed(text)
    told = yaml.safe_load(new)
    assert told["export"]["int4"] == SETTINGS
    assert (told["a"], told["b"]) == (1, 2)
    assert "# one" in new
    assert "# two" in new


def test_what_cannot_be_told_apart_is_refused_with_what_to_write() -> None:
    text = "base: &x {variants: [fp32]}\nexport: *x\n"
    with pytest.raises(RecipeError, match="by hand"):
        changed(text)
