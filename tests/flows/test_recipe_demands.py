"""What the gate judges must be asked: told before anything is trained."""

from pathlib import Path

import pytest

from components.contracts.errors import RecipeError
from flows.recipe import load_recipe

GOOD = (Path(__file__).parents[2] / "recipes" / "sentiment.yaml").read_text(encoding="utf-8")


def load(root: Path, old: str = "", new: str = "") -> None:
    (root / "recipes").mkdir(exist_ok=True)
    (root / "params.yaml").write_text("recipes:\n  - mine\n", encoding="utf-8")
    assert old in GOOD
    (root / "recipes" / "mine.yaml").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    load_recipe(root, "mine")


def test_guards_of_all_recipes_may_be_asked(tmp_path: Path) -> None:
    load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{general: 0.08", "{genral: 0.08", r"gate.guards: 'genral' is no guard.*'general'"),
        (
            "  ship: int8",
            "  ship: int8\n  tasks: [{task: quiz, better_than: [base]}]",
            "gate.tasks: 'quiz' is no task of the evaluation",
        ),
        (
            "  ship: int8",
            "  ship: int8\n  tasks: [{task: general, better_than: [base]}]",
            "gate.tasks: 'general' is no task",
        ),
    ],
)
def test_a_demand_on_nothing_is_told_with_what_there_is(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem) as error:
        load(tmp_path, old, new)
    assert "guards general, prose, toxicity" in str(error.value.fix)


def test_files_elsewhere_are_still_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="which is not in data/inputs/mine/"):
        load(tmp_path, "recipes/guards/prose.jsonl", "recipes/others/prose.jsonl")
