"""dvc.yaml is the only graph: it is held here against the code it runs."""

from pathlib import Path

import grimp
import pytest
import yaml

from flows.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
DATA = "data/${item.recipe}/"
RECIPE = "recipes/${item.recipe}.yaml"
DOOR = {"flows.stage", "flows.steps"}
"""The door itself is no dependency: it passes folders and settings on and adds nothing to them."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("components", "flows")


def modules_of(imports: grimp.ImportGraph, stage: str) -> set[str]:
    """Return every first-party module that the code of a stage imports, itself included."""
    module = STEPS[stage].module
    return {module} | imports.find_upstream_modules(module)


def covered(module: str, deps: list[str]) -> bool:
    """Say whether a module's file is one of `deps` or lies in one."""
    path = module.replace(".", "/")
    return any(path + ".py" == dep or path == dep or path.startswith(dep + "/") for dep in deps)


def test_every_stage_has_a_step_and_the_other_way_round() -> None:
    assert list(STAGES) == list(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_stage_reads_writes_and_is_set_as_its_step_says(name: str) -> None:
    stage, step = STAGES[name], STEPS[name]
    assert stage["cmd"] == f"python -m flows.stage {name} ${{item.recipe}}"
    assert stage["matrix"] == {"recipe": "${recipes}"}
    assert [next(iter(o)) if isinstance(o, dict) else o for o in stage["outs"]] == [
        DATA + step.output
    ]
    assert stage["params"] == [{RECIPE: list(step.sections)}]
    assert {d.removeprefix(DATA) for d in stage["deps"] if d.startswith(DATA)} == {
        *step.inputs,
        *step.beside,
    }
    assert {f"data/{name}/${{item.recipe}}" for name in step.folders} <= set(stage["deps"])


@pytest.mark.parametrize("name", STEPS)
def test_deps_name_all_code_that_a_stage_imports(imports: grimp.ImportGraph, name: str) -> None:
    deps = STAGES[name]["deps"]
    packages = {"components", "flows"}  # their __init__ files hold a docstring
    missing = {
        module
        for module in modules_of(imports, name) - DOOR - packages
        if not covered(module, deps)
    }
    assert not missing, f"{name}: add these to its deps in dvc.yaml"


@pytest.mark.parametrize("name", STEPS)
def test_deps_name_no_code_that_a_stage_does_not_import(
    imports: grimp.ImportGraph, name: str
) -> None:
    modules = modules_of(imports, name)
    code = [d for d in STAGES[name]["deps"] if d.startswith(("components", "flows"))]
    idle = [dep for dep in code if not any(covered(module, [dep]) for module in modules)]
    assert not idle, f"{name}: a change there would run it for nothing"


def test_packages_hold_no_code() -> None:
    for package in ("components", "flows"):
        text = (ROOT / package / "__init__.py").read_text()
        assert text.count("\n") == 1, package
        assert text.startswith('"""')


def test_a_missing_dependency_would_be_seen(imports: grimp.ImportGraph) -> None:
    deps = [d for d in STAGES["train"]["deps"] if d != "components/model"]
    assert any(not covered(module, deps) for module in modules_of(imports, "train") - DOOR)
