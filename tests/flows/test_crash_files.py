"""What a crash leaves of files: DVC's half-written ones, a journal's last line, a kept artefact."""

import json
import os
import sys
from pathlib import Path

import pytest
from toy_project import Toy

from components.contracts.kinds import Adapter
from flows.dvc_state import heal, keep_lock
from flows.finished import forget, keep, key_of, take_back
from flows.intact import is_intact
from flows.journal import Journal, Point
from flows.live import send_rest
from flows.patience import passes, patiently
from flows.recipe import load_recipe


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  train@toy:\n    cmd: train\n")
    return tmp_path


def test_what_is_whole_stays_as_it_is(project: Path) -> None:
    before = (project / "dvc.lock").read_bytes()
    assert heal(project) == []
    (project / ".dvc/tmp/rwlock").write_text('{"write": {}, "read": {}}')
    assert heal(project) == []
    assert (project / "dvc.lock").read_bytes() == before


def test_half_a_lock_gives_way_to_the_last_whole_one(project: Path) -> None:
    lock = project / "dvc.lock"
    keep_lock(project)
    before = lock.read_bytes()
    lock.write_text("schema: '2.0'\nstages:\n  train@toy:\n    cmd: 'tra")
    (told,) = heal(project)
    assert "dvc.lock was cut short" in told
    assert lock.read_bytes() == before
    lock.write_bytes(b"")
    keep_lock(project)  # half a lock is never kept
    assert heal(project)
    assert lock.read_bytes() == before


OUT = "schema: '2.0'\nstages:\n  train@toy:\n    cmd: train\n    outs:\n    - path: data\n"


@pytest.mark.parametrize("cut", ["      md5: 0123", "      hash: md5\n", ""])
def test_a_cut_lock_that_can_still_be_read_is_found(project: Path, cut: str) -> None:
    lock = project / "dvc.lock"
    lock.write_text(OUT + "      hash: md5\n      md5: 0123456789.dir\n")
    keep_lock(project)
    before = lock.read_bytes()
    lock.write_text(OUT + cut)
    assert heal(project)
    assert lock.read_bytes() == before


def test_a_lock_that_dvc_is_writing_is_left_alone(project: Path) -> None:
    import fcntl

    (project / "dvc.lock").write_text("stages: {train@toy: {cmd: 'tra")
    with (project / ".dvc/tmp/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert heal(project) == []


def test_half_a_list_of_workers_is_begun_anew(project: Path) -> None:
    busy = project / ".dvc/tmp/rwlock"
    busy.write_text('{"write": {"/da')
    (told,) = heal(project)
    assert "cut short" in told
    assert not busy.exists()


def test_a_number_that_another_process_bears_by_now_is_taken_off(project: Path) -> None:
    busy = project / ".dvc/tmp/rwlock"
    stranger = {"pid": os.getpid(), "cmd": "/bin/dvc repro --single-item train@toy"}
    mine = {"pid": os.getpid(), "cmd": " ".join(["x", *sys.orig_argv[1:]])}
    entries = {"write": {"/a": stranger, "/b": mine}, "read": {"/c": [stranger]}}
    busy.write_text(json.dumps(entries))
    (told,) = heal(project)
    assert f"process {os.getpid()}" in told
    assert json.loads(busy.read_text()) == {"write": {"/b": mine}, "read": {}}


# the journal of a curve


def test_a_journal_keeps_each_value_of_a_step_once(tmp_path: Path) -> None:
    journal = Journal.of(tmp_path, "toy", "run")
    for step in (1, 2):
        assert journal.add(Point(step, {"loss": 1.0 / step}, 5))
    journal.close()
    again = Journal.of(tmp_path, "toy", "run")  # a second attempt, from the checkpoint of step 1
    assert not again.add(Point(2, {"loss": 0.5}, 9))
    assert again.add(Point(2, {"loss": 0.5, "eval_loss": 0.7}, 9))
    told = [(point.step, dict(point.values)) for point in again.points()]
    assert told == [(1, {"loss": 1.0}), (2, {"loss": 0.5}), (2, {"eval_loss": 0.7})]


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    journal = Journal.of(tmp_path, "toy", "run")
    journal.add(Point(1, {"loss": 1.0}, 5))
    journal.close()
    with journal.file.open("a") as stream:
        stream.write('[2, {"lo')
    again = Journal.of(tmp_path, "toy", "run")
    assert again.add(Point(2, {"loss": 0.5}, 6))
    assert [point.step for point in again.points()] == [1, 2]


def test_what_the_tracker_has_confirmed_is_not_sent_again(tmp_path: Path) -> None:
    journal = Journal.of(tmp_path, "toy", "run")
    for step in range(1, 8):
        journal.add(Point(step, {"loss": 1.0}, 5))
    bundle, end = journal.unsent(5)
    assert [point.step for point in bundle] == [1, 2, 3, 4, 5]
    journal.confirm(end)
    assert [point.step for point in Journal.of(tmp_path, "toy", "run").unsent(5)[0]] == [6, 7]


def test_the_rest_is_sent_once(toy_here: Toy) -> None:
    from flows.store import client
    from flows.tracking import log_curve, run_of_dvc

    run = run_of_dvc(toy_here.root, "toy")
    journal = Journal.of(toy_here.root, "toy", run)
    points = [Point(step, {"loss": float(step)}, 1000 + step) for step in range(1, 6)]
    for point in points:
        journal.add(point)
    log_curve(run, points[:2])  # sent, and killed before that was noted
    send_rest(toy_here.root, "toy", run)
    send_rest(toy_here.root, "toy", run)
    assert [p.step for p in client().get_metric_history(run, "loss")] == [1, 2, 3, 4, 5]
    assert not journal.file.exists()


# what is finished and not locked


def test_what_was_finished_is_taken_back_for_the_same_call_only(toy: Toy) -> None:
    root, out = toy.root, toy.root / "data/toy/adapter"
    sections = [load_recipe(root, "toy").training]
    key = key_of(root, "train", "toy", sections, "adapter")
    assert key is not None
    with Adapter.write(out) as draft:
        (draft.folder / "weights").write_text("trained")
    keep(root, "train", "toy", key, Adapter.open(out))
    for file in out.iterdir():
        file.unlink()
    out.rmdir()
    toy.turn("train", "otherwise")
    changed = key_of(root, "train", "toy", sections, "adapter")
    assert changed != key
    assert not take_back(root, "train", "toy", str(changed), out)
    assert take_back(root, "train", "toy", key, out)
    assert is_intact(out)
    (root / ".tuneline/finished/toy/train/artefact/weights").write_text("touched")
    assert not take_back(root, "train", "toy", key, out), "damaged"
    forget(root, "toy", "train")
    assert not take_back(root, "train", "toy", key, out)
    assert key_of(root, "register", "toy", sections, "registration") is None


# a tracker that does not answer


def test_only_silence_is_waited_for() -> None:
    from mlflow.exceptions import MlflowException

    gone = MlflowException("API request to http://x/ failed with exception refused")
    wrong = MlflowException("no such run", error_code=3)
    assert passes(gone)
    assert passes(ConnectionRefusedError())
    assert not passes(wrong)
    assert not passes(FileNotFoundError())
    pauses: list[float] = []
    answers = [gone, gone, "there"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert patiently(call, lambda _: None, sleep=pauses.append) == "there"
    assert pauses == [1.0, 2.0]
    answers[:] = [wrong]
    with pytest.raises(MlflowException, match="no such run"):
        patiently(call, lambda _: None, sleep=pauses.append)
    answers[:] = [gone] * 9
    with pytest.raises(MlflowException, match="refused"):
        patiently(call, lambda _: None, limit_s=10, sleep=pauses.append)
    assert pauses[2:] == [1.0, 2.0, 4.0]
