"""The tiny recipe and the line run on it, once for all tests here."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests_line import Line, run_line

from flows.recipe import Recipe, parse_recipe, recipe_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return parse_recipe(recipe_file(ROOT, "tiny"))


@pytest.fixture(scope="session")
def new_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that makes a project folder with the tiny rows in it."""

    def make() -> Path:
        root = tmp_path_factory.mktemp("line")
        shutil.copytree(ROOT / "data" / "inputs" / "tiny", root / "data" / "inputs" / "tiny")
        return root

    return make


@pytest.fixture(scope="session")
def line(new_root: Callable[[], Path], tiny_recipe: Recipe) -> Line:
    return run_line(new_root(), tiny_recipe)
