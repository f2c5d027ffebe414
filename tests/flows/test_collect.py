"""`tuneline gc` takes away what nobody needs; an old registered version is made again after it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from data_project import commit, done
from test_register import run_register
from test_register import tiny_onnx as tiny_onnx  # the fixture
from toy_project import Toy

from components.contracts.errors import TunelineError
from components.contracts.kinds import Onnx
from flows.record import open_record, read_record

NAME = "toy-model"


def write_rows(toy: Toy, text: str) -> None:
    """Write other rows, which DVC keeps."""
    (toy.root / "data/inputs/toy/rows.jsonl").write_text(f'{{"text": "{text}"}}\n' * 50)
    done(toy, "dvc", "add", "-q", "data/inputs/toy/rows.jsonl")


def run_line(toy: Toy, knob: str, rows: str) -> str:
    """Run the whole line on other rows and settings, commit; return the MLflow run."""
    write_rows(toy, rows)
    for stage in ("ingest", "evaluate", "register"):
        toy.turn(stage, knob)
    toy.turn("train", "curve")  # so that there is an MLflow run
    done(toy, "dvc", "repro", "-q")
    commit(toy, f"{knob} on {rows}")
    record = read_record(toy.root, "toy")
    assert record is not None
    return str(record.mlflow_run_id)


def cache(toy: Toy) -> set[str]:
    files = (toy.root / ".dvc/cache/files/md5").glob("*/*")
    return {f"{file.parent.name}{file.name}" for file in files}


def text_of(toy: Toy, name: str) -> str:
    file = toy.root / ".dvc/cache/files/md5" / name[:2] / name[2:]
    return file.read_text(encoding="utf-8")


def gc(toy: Toy, *words: str) -> dict[str, Any]:
    done_ = toy.run(sys.executable, "-m", "flows.cli", "gc", "--json", *words)
    assert done_.returncode == 0, done_.stdout + done_.stderr
    return dict(json.loads(done_.stdout))


@pytest.mark.slow
def test_what_a_registered_version_needs_outlives_gc(
    toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path
) -> None:
    from test_register import predict_elsewhere

    from flows.registry_lineage import lineage
    from flows.registry_ref import find
    from flows.registry_reproduce import reproduce
    from flows.store import client

    toy = toy_here
    (toy.root / "data/inputs/toy").mkdir(parents=True)
    ignore = toy.root / ".gitignore"
    ignore.write_text(ignore.read_text().replace("/data/\n", "/data/*/*\n!/data/inputs/*\n"))
    first = run_line(toy, "first", "registered rows")
    run_register(toy, tiny_onnx, promote=True)
    with open_record(toy.root, "toy", "dvc") as record:
        run = record.mlflow_run_id
        record.status = "finished"
    of_first = cache(toy)
    second = run_line(toy, "second", "rows that nobody needs")
    of_second = cache(toy) - of_first
    rows = {name for name in of_second if "nobody" in text_of(toy, name)}
    third = run_line(toy, "third", "rows of today")
    assert len({first, run, second, third}) == 4
    assert len(rows) == 1
    for one in (run, second, third):
        client().log_text(one, "a page", "report/page.html")

    told = gc(toy, "--dry-run", "--keep-runs", "1")
    assert told["bytes"] > 0
    assert [one["id"] for one in told["runs"]] == [second]
    everything = cache(toy)
    assert of_second <= everything, "a dry run deletes nothing"

    went = gc(toy, "--keep-runs", "1")
    assert went == told, "what was announced is what went"
    assert of_second & cache(toy) == rows, "what was made went, the rows stayed"
    pages = {one: len(client().list_artifacts(one, "report")) for one in (run, second, third)}
    assert pages == {run: 1, second: 0, third: 1}
    assert of_first <= cache(toy)
    assert gc(toy, "--keep-runs", "1")["cache"] == []

    assert "up to date" in done(toy, "dvc", "status")
    assert client().get_run(second).data.params["training.lora_r"] == "16", "figures stay"
    assert len(predict_elsewhere(toy, tmp_path, f"models:/{NAME}/1")) == 1
    found = reproduce(toy.root, lineage(find(f"{NAME}@1")), until="evaluate")
    assert {one.name for one in found.artefacts} == {"raw", "base", "adapter", "evaluation"}
    assert found.same, found.lines()
    rebuilt = (found.folder / "data/inputs/toy/rows.jsonl").read_text()
    assert rebuilt.startswith('{"text": "registered rows"}'), "its rows were kept too"


def test_a_cache_outside_the_project_is_left_alone(toy_here: Toy, tmp_path: Path) -> None:
    from flows.collect import collect

    done(toy_here, "dvc", "cache", "dir", "--local", str(tmp_path / "shared"))
    with pytest.raises(TunelineError, match=r"outside this project: others may need"):
        collect(toy_here.root, keep_runs=1, dry_run=False, say=print)
