"""Runs side by side, and a run by each of its names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_run import made_run

from components.contracts.errors import ArtefactError, RecipeError
from components.report.side_by_side import Run, page, side_by_side
from flows.compare import compare_runs
from flows.environment import prepare

REPOSITORY = Path(__file__).parents[2]
NOUNS = ("evaluation", "verification", "verdict")


def run_of(name: str, folder: Path, **values: object) -> Run:
    line = made_run(folder, **values)  # type: ignore[arg-type]
    settings = {"training.lora_r": name[-1], "training.seed": "0"}
    return Run(name, line.evaluation, line.verification, line.verdict, settings)


def test_a_better_run_is_called_better_and_what_differs_is_told(tmp_path: Path) -> None:
    runs = [
        run_of("run 1", tmp_path / "1", skill=0.5),
        run_of("run 2", tmp_path / "2", skill=0.95),
        run_of("run 3", tmp_path / "3", skill=0.5),
    ]
    found = side_by_side(runs)
    better, same = found["pairs"]
    assert better["words"].startswith("better by")
    assert better["p_holm"] == pytest.approx(2 * better["p"])
    assert better["items"] == 90
    assert (same["difference"], same["p_holm"]) == (0, 1)
    assert found["settings"] == [{"name": "training.lora_r", "runs": ["1", "2", "3"]}]
    assert [row["group"] for row in found["slices"]] == ["bad", "so-so", "good"]
    html = page(found)
    assert "run 2</strong> against run 1: better by" in html
    for outside in ("<script", "<link", "src=", "url(http"):
        assert outside not in html


def test_only_items_that_both_answered_are_paired(tmp_path: Path) -> None:
    first, second = run_of("a", tmp_path / "a"), run_of("b", tmp_path / "b", first=60)
    (pair,) = side_by_side([first, second])["pairs"]
    assert (pair["items"], pair["of"]) == (30, [90, 90])
    apart = run_of("c", tmp_path / "c", first=500)
    (pair,) = side_by_side([first, apart])["pairs"]
    assert pair["words"] == "not compared: no item was answered by both"
    assert "p" not in pair


def test_tasks_on_the_same_items_are_compared(tmp_path: Path) -> None:
    runs = [run_of(name, tmp_path / name, tasks=True) for name in ("a", "b")]
    (pair,) = side_by_side(runs)["pairs"]
    assert [one["task"] for one in pair["tasks"]] == ["writing", "general"]
    assert pair["tasks"][0]["outcome"] == "no difference shown"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run committed and, in the working copy, a better one."""
    root = tmp_path_factory.mktemp("project")
    (root / "recipes").mkdir()
    shutil.copy(REPOSITORY / "recipes" / "tiny.yaml", root / "recipes")
    (root / "params.yaml").write_text("recipes: [tiny]\n", encoding="utf-8")
    stages = {noun: {"cmd": "true", "outs": [f"data/tiny/{noun}"]} for noun in NOUNS}
    (root / "dvc.yaml").write_text(json.dumps({"stages": stages}), encoding="utf-8")
    call(root, "git", "init", "-q")
    for key, value in (("email", "a@example.org"), ("name", "A")):
        call(root, "git", "config", f"user.{key}", value)
    call(root, sys.executable, "-m", "dvc", "init", "-q")
    for skill, lora in ((0.5, 16), (0.95, 8)):
        made_run(root / "data" / "tiny", skill=skill)
        recipe = root / "recipes" / "tiny.yaml"
        text = recipe.read_text(encoding="utf-8").replace("lora_r: 16", f"lora_r: {lora}")
        recipe.write_text(text, encoding="utf-8")
        call(root, sys.executable, "-m", "dvc", "commit", "-q", "-f")
        if lora == 16:
            call(root, "git", "add", "-A")
            call(root, "git", "commit", "-qm", "first run")
    return root


def call(root: Path, *words: str) -> None:
    env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_working_copy_is_compared_with_a_revision(project: Path) -> None:
    found = compare_runs(project, ["tiny@HEAD", "tiny"])
    assert found["pairs"][0]["words"].startswith("better by")
    assert found["settings"] == [{"name": "training.lora_r", "runs": ["16", "8"]}]
    again = compare_runs(project, ["tiny@HEAD", str(project / "data" / "tiny")])
    assert again["pairs"][0]["p"] == found["pairs"][0]["p"]


def test_a_run_that_is_not_there_is_told_with_what_to_do(project: Path, tmp_path: Path) -> None:
    for names, error, said in (
        (["tiny"], RecipeError, "two or more are compared"),
        (["tiny", "tiny@nowhere"], RecipeError, "git knows no revision 'nowhere'"),
        (["tiny", "tinny"], RecipeError, "did you mean 'tiny'"),
        (["tiny", "other@HEAD"], RecipeError, "has no run of recipe 'other'"),
        (["tiny", f"{tmp_path}/"], ArtefactError, "has no evaluation, verification, verdict"),
    ):
        with pytest.raises(error, match=said):
            compare_runs(project, names)


@pytest.mark.slow
def test_runs_and_versions_of_mlflow_are_found(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"MLFLOW_TRACKING_URI": f"sqlite:///{project / 'mlflow.db'}"}
    prepare(project, environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    from flows.data_log import locked_hash
    from flows.store import client

    lock = (project / "dvc.lock").read_text(encoding="utf-8")
    hashes = {f"dvc.{noun}": str(locked_hash(lock, f"data/tiny/{noun}")) for noun in NOUNS}
    store = client()
    run = store.create_run("0", tags=hashes).info.run_id
    store.log_param(run, "training.lora_r", "8")
    store.create_registered_model("m")
    version = store.create_model_version("m", "file:///nothing", run_id=run)
    store.set_registered_model_alias("m", "champion", version.version)
    for name in (run, "models:/m/1", "models:/m@champion"):
        found = compare_runs(project, ["tiny@HEAD", name])
        assert found["pairs"][0]["words"].startswith("better by")
        assert found["pairs"][0]["model"] == name
    with pytest.raises(RecipeError, match="MLflow knows no"):
        compare_runs(project, ["tiny", "0" * 32])
    with pytest.raises(RecipeError, match="no model version"):
        compare_runs(project, ["tiny", "models:/m"])
