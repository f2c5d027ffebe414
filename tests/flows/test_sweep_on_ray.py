"""A sweep on Ray is the sweep of child processes: same trials, same losses.

Each cluster is begun by a process of its own: Ray is made for one `ray.init` a process.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_sweep import HERE, calls, made_sweep, run
from toy_project import REPOSITORY, Toy

from components.contracts.kinds import BaseModelFolder, Tokens
from flows.recipe import parse_recipe
from flows.sweep_run import ranked
from flows.sweep_trials import read_trials

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is not installed")

PARAMETERS = {"training.learning_rate": [1e-4, 1e-3], "training.lora_r": [8, 13]}
MADE_UP = f"""
import sys
from pathlib import Path
from made_sweep import made_sweep, run
run(made_sweep(Path(sys.argv[1]), {PARAMETERS!r}, engine="ray"))
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's processes find the made-up training, and this repository; nothing calls home."""
    path = [str(HERE), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


def child(*words: str, cwd: Path) -> str:
    """Run a command; once more where Ray itself did not start, as on a busy machine."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False
        )
        if "Ray at this machine did not start" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_made_up_trials_on_two_workers(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "kill").touch()
    child("-c", MADE_UP, str(tmp_path / "ray"), cwd=tmp_path)
    sweep = made_sweep(tmp_path / "ray", PARAMETERS, engine="ray")
    found = ranked(read_trials(sweep.folder))

    assert calls(sweep) == 5  # one trial was killed, and went on
    plain = run(made_sweep(tmp_path / "plain", PARAMETERS))
    assert [(t.spec.parameters, t.result and t.result.value) for t in found] == [
        (t.spec.parameters, t.result and t.result.value) for t in plain
    ]
    assert [t.result.state for t in found if t.result] == ["complete"] * 2 + ["failed"] * 2
    assert [t.spec for t in run(sweep)] == [t.spec for t in found]
    assert calls(sweep) == 5


def test_a_real_recipe_on_two_workers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
) -> None:
    """The command itself: real trainings, nested MLflow runs, the best written to the recipe."""
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    shutil.copy(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    text = (REPOSITORY / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    text = text.replace("eval_steps: 22", "eval_steps: 2\n  max_steps: 4")
    sheet = root / "recipes" / "tiny.yaml"
    sheet.write_text(text, encoding="utf-8")
    (root / "params.yaml").write_text("recipes:\n- tiny\n", encoding="utf-8")
    Toy(root).enter(monkeypatch)
    shutil.copytree(tiny_base.path, root / "data" / "tiny" / "base")
    shutil.copytree(tiny_tokens.path, root / "data" / "tiny" / "tokens")

    words = ["--param", "training.learning_rate=1e-5,5e-3", "--workers", "2", "--engine", "ray"]
    told = child("-m", "flows.cli", "sweep", "tiny", *words, "--write", cwd=root)
    assert "tiny: best: learning_rate 0.005" in told
    assert "trial 1/2" in told
    assert parse_recipe(sheet).training.learning_rate == 5e-3
    assert sheet.read_text() in (text, text.replace("5.0e-3", "0.005"))

    from flows.store import client

    store = client()
    experiment = store.get_experiment_by_name("tiny-sweep")
    runs = store.search_runs([experiment.experiment_id])
    (parent,) = [one for one in runs if one.data.tags["kind"] == "sweep"]
    trials = [one for one in runs if one.data.tags["kind"] == "trial"]
    assert {one.data.tags["mlflow.parentRunId"] for one in trials} == {parent.info.run_id}
    assert {one.info.status for one in runs} == {"FINISHED"}
    assert {one.data.params["training.learning_rate"] for one in trials} == {"1e-05", "0.005"}
    losses = {one.info.run_id: one.data.metrics["best_eval_loss"] for one in trials}
    assert parent.data.tags["best.run"] == min(losses, key=lambda run: losses[run])
    assert parent.data.metrics["best_eval_loss"] == min(losses.values())
    for one in trials:
        history = store.get_metric_history(one.info.run_id, "eval_loss")
        assert [point.step for point in history] == [2, 4]
