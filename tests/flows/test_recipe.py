"""Every fault of a recipe is told: where it is, what was found, what is allowed."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.contracts.errors import RecipeError
from flows.recipe import (
    Recipe,
    add_to_line,
    listed,
    load_recipe,
    parse_recipe,
    recipes_in,
)

REPOSITORY = Path(__file__).parents[2]
GOOD = (REPOSITORY / "recipes" / "sentiment.yaml").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "good.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "params.yaml").write_text("# the line\nrecipes:\n  - good\n", encoding="utf-8")
    return tmp_path


def fault(project: Path, old: str, new: str) -> str:
    """Return what is said of the good recipe with one text replaced."""
    assert old in GOOD
    file = project / "recipes" / "bad.yaml"
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        parse_recipe(file)
    return str(error.value)


def test_a_good_recipe_is_read_and_flattened(project: Path) -> None:
    flat = load_recipe(project, "good").flat()

    assert flat["training.lora_r"] == "16"
    assert flat["gate.ship"] == "int8"
    assert flat["source.read.format"] == "tsv"


@pytest.mark.parametrize("file", sorted((REPOSITORY / "recipes").rglob("*.yaml")), ids=str)
def test_every_recipe_of_the_repository_is_right(file: Path) -> None:
    assert isinstance(parse_recipe(file), Recipe)


def test_an_unknown_key_gets_a_suggestion_and_the_allowed_keys(project: Path) -> None:
    said = fault(project, "lora_r: 16", "lora_rank: 16")

    assert "recipes/bad.yaml: training.lora_rank: unknown key" in said
    assert "did you mean 'lora_r" in said
    assert "learning_rate" in said


def test_an_unknown_key_of_a_task_gets_them_too(project: Path) -> None:
    said = fault(
        project, "evaluation:\n", "evaluation:\n  tasks: [{task: choice, num_fewshots: 3}]\n"
    )

    assert "evaluation.tasks.0.num_fewshots: unknown key; did you mean 'num_fewshot'?" in said
    assert "apply_chat_template" in said


def test_an_unknown_section_gets_a_suggestion(project: Path) -> None:
    said = fault(project, "\nexport:", "\nexprot:")

    assert "exprot: unknown key; did you mean 'export'?" in said
    assert "export: is missing (write `export: {}` for its defaults)" in said


def test_a_wrong_type_names_key_value_and_what_is_allowed(project: Path) -> None:
    said = fault(project, "lora_r: 16", "lora_r: sixteen")

    assert (
        "recipes/bad.yaml: training.lora_r: found 'sixteen'; it should be a valid integer" in said
    )
    line = GOOD.splitlines().index("  lora_r: 16") + 1
    assert f"(line {line})" in said


def test_a_value_out_of_range_is_told(project: Path) -> None:
    assert "greater than" in fault(project, "learning_rate: 1.0e-3", "learning_rate: -1.0")


def test_a_wrong_choice_gets_a_suggestion(project: Path) -> None:
    said = fault(project, "distribution: sdist", "distribution: sdits")

    assert "source.distribution: found 'sdits'; it should be 'sdist' or 'wheel'" in said
    assert "did you mean 'sdist'?" in said


def test_an_unknown_kind_names_the_kinds(project: Path) -> None:
    said = fault(project, "source:\n  kind: package", "source:\n  kind: pakage")

    assert "source.kind: found 'pakage'; it should be 'package'" in said
    assert "did you mean 'package'?" in said


def test_a_missing_kind_is_told(project: Path) -> None:
    assert "source.kind: is missing" in fault(project, "source:\n  kind: package\n", "source:\n")


def test_a_missing_key_inside_a_kind_is_told_without_the_kind(project: Path) -> None:
    said = fault(project, "  name: vaderSentiment\n", "")

    assert "recipes/bad.yaml: source.name: is missing" in said


def test_all_faults_are_told_at_once(project: Path) -> None:
    bad = GOOD.replace("lora_r: 16", "lora_r: x").replace("ship: int8", "shipp: int8")
    file = project / "recipes" / "bad.yaml"
    file.write_text(bad, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        parse_recipe(file)

    assert "training.lora_r" in str(error.value)
    assert "gate.shipp" in str(error.value)


def test_broken_yaml_names_the_line(project: Path) -> None:
    said = fault(project, "  ship: int8", "\tship: int8")

    line = GOOD.splitlines().index("  ship: int8") + 1
    assert f"recipes/bad.yaml:{line}: " in said
    assert "not valid YAML" in said


def test_a_key_that_stands_twice_is_told(project: Path) -> None:
    said = fault(project, "  lora_r: 16\n", "  lora_r: 16\n  lora_r: 8\n")

    assert "training.lora_r: stands twice" in said


def test_a_list_instead_of_keys_is_told(project: Path) -> None:
    file = project / "recipes" / "bad.yaml"
    file.write_text("- a\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="found list, but it should be keys with values"):
        parse_recipe(file)


def test_a_missing_file_lists_the_recipes_there(project: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'goood'.*did you mean 'good'") as error:
        load_recipe(project, "goood")
    assert "use one of: good" in str(error.value)


def test_a_name_cannot_lead_out_of_the_folder(project: Path) -> None:
    (project / "good.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(RecipeError, match="no recipe"):
        load_recipe(project, "../good")


@pytest.mark.parametrize("name", ["accepted", "inputs", "judged"])
def test_a_name_that_a_folder_of_the_data_has_is_refused(project: Path, name: str) -> None:
    (project / "recipes" / f"{name}.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(RecipeError, match=rf"cannot have the name '{name}': data/{name}/ holds"):
        load_recipe(project, name)


def test_a_recipe_that_is_not_on_the_line_says_how_to_add_it(project: Path) -> None:
    (project / "recipes" / "new.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(RecipeError, match="tuneline run new --add"):
        load_recipe(project, "new")


def test_adding_to_the_line_keeps_what_stands_there(project: Path) -> None:
    (project / "recipes" / "new.yaml").write_text(GOOD, encoding="utf-8")

    assert add_to_line(project, "new")
    assert not add_to_line(project, "new")
    assert listed(project) == ["good", "new"]
    assert (project / "params.yaml").read_text(encoding="utf-8").startswith("# the line\n")
    assert load_recipe(project, "new") == load_recipe(project, "good")


@pytest.mark.parametrize("text", ["recipes: good\n", "recipe: [good]\n", "recipes: [1]\n"])
def test_params_that_are_no_list_of_names_are_told(project: Path, text: str) -> None:
    (project / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match="should be a list of recipe names"):
        load_recipe(project, "good")


def test_every_section_is_required_so_that_dvc_can_hash_it(project: Path) -> None:
    sections = yaml.safe_load(GOOD)
    for name in sections:
        file = project / "recipes" / "part.yaml"
        rest = {key: value for key, value in sections.items() if key != name}
        file.write_text(yaml.safe_dump(rest), encoding="utf-8")
        with pytest.raises(RecipeError, match=f"{name}: is missing"):
            parse_recipe(file)


def test_the_line_knows_its_recipes() -> None:
    assert set(listed(REPOSITORY)) <= set(recipes_in(REPOSITORY))


def test_reading_a_recipe_loads_nothing_heavy() -> None:
    code = (
        "import sys; import flows.cli; from pathlib import Path; from flows.recipe import *;"
        "load_recipe(Path('.'), 'sentiment');"
        "print([m for m in ('torch', 'transformers', 'mlflow', 'prefect', 'pandas', 'datasets',"
        " 'onnxruntime', 'great_expectations', 'dvc') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_local_input_in_another_recipe_s_folder_is_refused(project: Path) -> None:
    tiny = (REPOSITORY / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    (project / "recipes" / "mine.yaml").write_text(tiny, encoding="utf-8")
    add_to_line(project, "mine")

    with pytest.raises(RecipeError, match=r"source\.path: found 'data/inputs/tiny/rows\.jsonl'"):
        load_recipe(project, "mine")


def test_a_url_where_a_file_is_wanted_names_what_to_do(project: Path) -> None:
    file = project / "recipes" / "good.yaml"
    tiny = (REPOSITORY / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    url = "s3://bucket/rows.jsonl"
    file.write_text(tiny.replace("data/inputs/tiny/rows.jsonl", url), encoding="utf-8")
    with pytest.raises(RecipeError, match=f"source.path: found '{url}'.* local path") as error:
        load_recipe(project, "good")
    assert f'write source: {{kind: url, url: "{url}", …}}' in str(error.value.fix)

    sets = f"validation:\n  contamination: [{{path: '{url}'}}]"
    file.write_text(GOOD.replace("validation:", sets, 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"validation.contamination.0.path: .* local") as error:
        load_recipe(project, "good")
    assert error.value.fix == "bring it to data/inputs/good/ and name it there"


def test_an_evaluation_set_in_another_folder_is_refused(project: Path) -> None:
    tiny = (REPOSITORY / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    (project / "recipes" / "mine.yaml").write_text(
        tiny.replace("inputs/tiny", "inputs/mine").replace(
            "\nvalidation:", "\nvalidation:\n  contamination: [{path: elsewhere/test.jsonl}]"
        ),
        encoding="utf-8",
    )
    add_to_line(project, "mine")

    with pytest.raises(RecipeError, match=r"contamination\.0\.path: found 'elsewhere/test\.jsonl'"):
        load_recipe(project, "mine")


def test_a_task_over_rows_in_another_folder_is_refused(project: Path) -> None:
    task = "tasks: [{task: choice, dataset_path: data/inputs/other/rows.jsonl}]"
    text = GOOD.replace("evaluation:\n", f"evaluation:\n  {task}\n")
    (project / "recipes" / "good.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(RecipeError, match=r"evaluation: found 'data/inputs/other/rows\.jsonl'"):
        load_recipe(project, "good")


def test_a_recipe_put_on_the_line_gets_its_folders(project: Path) -> None:
    add_to_line(project, "mine")

    assert (project / "data" / "inputs" / "mine" / ".gitkeep").is_file()
    for kind in ("accepted", "judged"):
        assert (project / "data" / kind / "mine" / ".gitkeep").is_file()
