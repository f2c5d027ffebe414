"""A sweep as a whole, over a made-up training: the real scheduler, child processes and files."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from made_sweep import HERE, calls, made_sweep, run
from toy_trial import loss_at

from components.contracts.errors import ArtefactError, ModelError, TunelineError
from flows import sweep_workers
from flows.sweep_run import alone, run_sweep
from flows.sweep_trials import read_trials, trial_folder
from flows.trial import attempt

RATE, R = "training.learning_rate", "training.lora_r"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the made-up training, and this repository."""
    path = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_a_grid_finds_the_best_and_is_kept(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
    trials = run(sweep)

    assert trials[0].spec.parameters == {RATE: 1e-3, R: 16}
    assert [t.result.value for t in trials if t.result] == sorted(
        loss_at(rate, r) for rate in (1e-4, 1e-3, 1e-2) for r in (8, 16)
    )
    assert {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()} == before
    assert not list(sweep.folder.glob("trial-*/adapter"))
    assert not list(sweep.folder.glob("trial-*/scratch"))

    assert calls(sweep) == 6
    assert [t.spec.number for t in run(sweep)] == [t.spec.number for t in trials]
    assert calls(sweep) == 6  # nothing was done again


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    whole = run(made_sweep(tmp_path / "whole", search="random", trials=5, workers=1))
    sweep = made_sweep(tmp_path / "cut", search="random", trials=5, workers=1)
    heard = []

    def stop(trial: Any) -> None:
        heard.append(trial.spec.number)
        if len(heard) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, stop, lambda _: None)
    assert calls(sweep) == 2
    more = run(sweep)

    assert calls(sweep) == 5
    assert [(t.spec.number, t.spec.parameters) for t in more] == [
        (t.spec.number, t.spec.parameters) for t in whole
    ]


def test_more_trials_are_added_to_those_there_are(tmp_path: Path) -> None:
    run(made_sweep(tmp_path, search="random", trials=2))
    sweep = made_sweep(tmp_path, search="random", trials=3)
    assert len(run(sweep)) == 3
    assert calls(sweep) == 3


def test_a_killed_trial_goes_on_from_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "kill").touch()
    sweep = made_sweep(tmp_path, {R: [8]})
    (trial,) = run(sweep)

    assert calls(sweep) == 2
    assert list(trial.curve()) == [1, 2, 3, 4, 5]
    lines = (trial.folder / "curve.jsonl").read_text().splitlines()
    assert len(lines) == 6  # step 2 had been told when the process was killed


def test_a_failed_trial_is_one_of_the_results(tmp_path: Path) -> None:
    best, failed = run(made_sweep(tmp_path, {R: [13, 16]}))
    assert best.spec.parameters == {R: 16}
    assert failed.result is not None
    assert failed.result.state == "failed"
    assert "loss nan" in failed.result.message


def test_settings_that_do_not_go_together_fail_at_once(tmp_path: Path) -> None:
    parameters = {"training.fast": [True, False], "training.torch_compile": [False, True]}
    sweep = made_sweep(tmp_path, parameters)
    *_, failed = run(sweep)
    assert failed.spec.parameters == {"training.fast": False, "training.torch_compile": True}
    assert failed.result is not None
    assert "fast path" in failed.result.message
    assert calls(sweep) == 3


def test_no_trial_at_its_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not one trial came to its end.*loss nan"):
        run(made_sweep(tmp_path, {R: [13]}))


def test_a_fault_of_all_trials_stops_the_sweep(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, {R: [14, 16]}, workers=1)
    with pytest.raises(TunelineError, match="trial-0000: 3 of 60 rows have no trained token"):
        run(sweep)
    assert calls(sweep) == 1


def test_a_crash_is_tried_again_then_told(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, {R: [15]}, workers=1)
    with pytest.raises(TunelineError, match="nobody foresaw this"):
        run(sweep)
    assert calls(sweep) == 3


def test_a_hopeless_trial_is_pruned(tmp_path: Path) -> None:
    parameters = {RATE: [1e-3, 1e-2, 1e-5]}
    sweep = made_sweep(tmp_path, parameters, pruner="median", n_startup_trials=2, workers=1)
    *_, pruned = run(sweep)
    assert pruned.result is not None
    assert (pruned.result.state, pruned.result.step) == ("pruned", 1)
    assert pruned.result.value == pytest.approx(loss_at(1e-5, 16) + 0.4)


def test_two_sweeps_on_one_folder(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path)
    with alone(sweep.folder), pytest.raises(ArtefactError, match="another process works on"):
        run(sweep)


def test_other_inputs_are_another_sweep(tmp_path: Path) -> None:
    one = made_sweep(tmp_path).folder
    assert made_sweep(tmp_path, workers=7, pruner="none").folder == one
    assert made_sweep(tmp_path, {R: [8, 16]}).folder != one
    assert made_sweep(tmp_path, search="random", trials=4).folder != one


def test_children_end_with_the_sweep(tmp_path: Path) -> None:
    """A killed scheduler leaves nothing that computes."""
    code = (
        "import sys; from pathlib import Path; from flows.sweep_workers import Children\n"
        "workers = Children(1); folder = Path(sys.argv[1]); workers.start(folder)\n"
        "print(next(iter(workers.running.values()))[1].pid, flush=True); workers.wait()"
    )
    folder = tmp_path / "trial-0000"
    folder.mkdir()
    (folder / "trial.json").write_text("{}")
    # The child waits for the lock that this process holds.
    with alone(folder):
        parent = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 120
        while _alive(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_gpus_are_dealt_out_by_slot() -> None:
    def seen(slot: int, count: float, environ: dict[str, str]) -> str | None:
        return sweep_workers.trial_environment(2.0, slot, count, environ).get(
            "CUDA_VISIBLE_DEVICES"
        )

    assert [seen(slot, 1, {}) for slot in (0, 1)] == ["0", "1"]
    assert seen(1, 2, {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}) == "6,7"
    assert seen(0, 0, {}) is None
    assert sweep_workers.trial_environment(2.0, 0, 0, {})["OMP_NUM_THREADS"] == "2"


def test_a_trial_that_is_over_is_left_alone(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, {R: [16]})
    run(sweep)
    assert attempt(trial_folder(sweep.folder, 0)) == 0
    assert calls(sweep) == 1
    assert len(read_trials(sweep.folder)) == 1
