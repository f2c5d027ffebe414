"""The types of what a deployment is given: Prefect's page makes a form with choices from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from components.contracts.errors import TunelineError
from flows.steps import STEPS


@dataclass(frozen=True)
class OneOf:
    """Adds a list of choices and a description to a parameter's JSON schema, when it is asked for.

    The type itself stays `str`: a recipe that came later is refused by the flow, in its own words.
    """

    choices: Callable[[], Sequence[str]]
    title: str
    description: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        schema |= {"title": self.title, "description": self.description}
        found = list(self.choices())
        return {**schema, "enum": found} if found else schema


@dataclass(frozen=True)
class Described:
    """Puts a description beside a parameter's field; that of pydantic's `Field` Prefect drops."""

    description: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "description": self.description}


def recipes_here() -> list[str]:
    """Return the recipes on the line of the project at hand; none outside any project."""
    from flows.environment import find_root
    from flows.recipe import listed

    try:
        return listed(find_root(Path.cwd()))
    except TunelineError:
        return []


def recipe_files_here() -> list[str]:
    """Return all recipes of the project at hand, on the line or not; none outside any project."""
    from flows.environment import find_root
    from flows.recipe import recipes_in

    try:
        return recipes_in(find_root(Path.cwd()))
    except TunelineError:
        return []


RecipeName = Annotated[
    str, OneOf(recipes_here, "Recipe", "A recipe on the line (params.yaml): recipes/NAME.yaml")
]
RecipeFile = Annotated[
    str, OneOf(recipe_files_here, "Recipe", "A recipe, on the line or not: recipes/NAME.yaml")
]
StageName = Annotated[
    str, OneOf(lambda: list(STEPS), "Stage", "A stage of dvc.yaml to run even if unchanged")
]
Stages = Annotated[list[StageName] | None, Described("Stages to run even if unchanged")]
