"""`tuneline run` as a user meets it: exit codes, last words, nothing else."""

import pytest
from toy_project import STAGES, Toy


@pytest.fixture
def api(prefect_server: None) -> dict[str, str]:
    """The environment that leads a child process to the session's Prefect server."""
    from prefect.settings import PREFECT_API_URL

    return {"PREFECT_API_URL": str(PREFECT_API_URL.value())}


def test_a_run_ends_with_the_table_and_the_next_commands(toy: Toy, api: dict[str, str]) -> None:
    done = toy.run("python", "-m", "flows.cli", "run", "toy", **api)

    assert done.returncode == 0, done.stderr
    for stage in STAGES:
        assert f"  {stage:<10}ran" in done.stdout
    assert "int8 (shipped)" in done.stdout
    assert "verdict: int8 may become champion" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].strip().startswith("dvc repro")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_failed_run_ends_with_the_stage_s_own_words(toy: Toy, api: dict[str, str]) -> None:
    toy.turn("ingest", "bad data")
    done = toy.run("python", "-m", "flows.cli", "run", "toy", **api)

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ingest: row 3 has no label\n  → give it one")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_wrong_recipe_starts_nothing(toy: Toy) -> None:
    recipe = toy.root / "recipes/toy.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("lora_r: 16", "lora_rank: 16"), encoding="utf-8")
    done = toy.run("python", "-m", "flows.cli", "run", "toy")

    assert done.returncode == 2
    assert "recipes/toy.yaml: training.lora_rank: unknown key" in done.stderr
    assert toy.calls() == []


def test_add_puts_a_recipe_on_the_line_only_if_it_is_right(toy: Toy) -> None:
    text = (toy.root / "recipes/toy.yaml").read_text(encoding="utf-8")
    new = toy.root / "recipes/new.yaml"
    new.write_text(text.replace("lora_r: 16", "lora_r: x"), encoding="utf-8")
    done = toy.run("python", "-m", "flows.cli", "run", "new", "--add")

    assert done.returncode == 2
    assert "training.lora_r" in done.stderr
    assert "new" not in (toy.root / "params.yaml").read_text(encoding="utf-8")
