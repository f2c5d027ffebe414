"""`tuneline batch-predict`: order, faults, types, and going on after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from components.contracts.errors import DataError, TunelineError
from components.contracts.events import Silent
from components.contracts.kinds import Onnx
from components.runtime.generate import Generation
from components.runtime.labels import label_ids
from components.runtime.predict import Fault, Predictor
from components.runtime.shape import Shape
from components.runtime.text import TextModel
from components.scoring.items import Item
from components.scoring.score import score_items
from flows.batch_parts import Parts
from flows.batch_run import Job, predict_file
from flows.cli import app

ROOT = Path(__file__).resolve().parents[2]
SHAPE = Shape(system="good, fair or poor?", labels=("good", "fair", "poor"), single_turn=True)
TEXTS = [f"{'so ' * (n % 7)}text {n}" for n in range(24)]


@pytest.fixture(scope="module")
def model(tiny_onnx: Onnx) -> TextModel:
    return TextModel(tiny_onnx.variant("int8"), threads=1)


def predict(model: TextModel, texts: list[Any], **how: Any) -> list[Any]:
    generation = how.pop("generation", Generation(max_new_tokens=6))
    predictor = Predictor(model, SHAPE, generation, **how)
    found = dict(predictor.predict(texts))
    return [found[index] for index in range(len(texts))]


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["batch-predict", *words, "-m", "tiny@champion"])


def write_jsonl(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_batches_of_one_and_of_many_answer_alike(model: TextModel, temperature: float) -> None:
    how = Generation(max_new_tokens=6, temperature=temperature, seed=3)
    alone = predict(model, TEXTS, generation=how, batch_size=1)
    assert alone == predict(model, TEXTS, generation=how, batch_size=16)
    assert len({answer["answer"] for answer in alone}) > 4
    if not temperature:
        assert alone[3] == {"answer": model.answer(SHAPE.ask(TEXTS[3]), max_new_tokens=6)}


def test_labels_are_scored_as_the_gate_scores_them(model: TextModel) -> None:
    ids = label_ids(model, SHAPE.ask("x"), SHAPE.labels)  # type: ignore[arg-type]
    assert len({len(label) for label in ids}) >= 1
    assert max(map(len, ids)) > 1, "labels of several tokens"
    items = [
        Item(
            id=str(n),
            prompt=tuple(model.prompt_ids(SHAPE.ask(text))),
            answer=(*ids[0], 2),
            choices=tuple(ids),
            target=0,
            text=(),
            text_bytes=1,
        )
        for n, text in enumerate(TEXTS)
    ]
    scores = score_items(model.model, items, prefix_token=2)
    found = predict(model, TEXTS, labels=True)
    for score, one in zip(scores, found, strict=True):
        assert one["predicted_label"] == SHAPE.labels[score.choice]
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        weights = np.exp(np.array(score.choice_logprobs) - max(score.choice_logprobs))
        expected = weights / weights.sum()
        assert list(one["probabilities"].values()) == pytest.approx(expected, abs=2e-6)


def test_faults_are_told_row_by_row(model: TextModel) -> None:
    long = "a" * (model.context_length + 1)
    found = predict(model, ["fine", long, [{"role": "user", "content": "fine"}]])
    assert found[0] == found[2]
    assert isinstance(found[1], Fault)
    assert "context" in found[1].problem


def test_a_row_near_the_end_of_the_context_is_answered_as_far_as_it_goes(model: TextModel) -> None:
    empty = len(model.prompt_ids(SHAPE.ask("")))
    text = "a" * (model.context_length - empty - 2)
    assert len(model.prompt_ids(SHAPE.ask(text))) == model.context_length - 2
    found = predict(model, ["fine", text])
    assert found[1] == {"answer": model.answer(SHAPE.ask(text), max_new_tokens=2)}


def test_rows_keep_their_order_and_their_columns(project: Path, tmp_path: Path) -> None:
    rows = [{"id": n, "text": text, "tags": [n]} for n, text in enumerate(TEXTS)]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    done = run(str(source), str(tmp_path / "out.jsonl"), "--chunk-rows", "7")
    assert done.exit_code == 0, done.output
    found = read_jsonl(tmp_path / "out.jsonl")
    assert [{key: row[key] for key in ("id", "text", "tags")} for row in found] == rows
    assert all(row["predicted_label"] in SHAPE.labels for row in found)
    assert not (tmp_path / "out.jsonl.partial").exists()
    assert not (tmp_path / "out.jsonl.errors.jsonl").exists()
    again = run(str(source), str(tmp_path / "out.jsonl"))
    assert isinstance(again.exception, DataError)
    whole = run(str(source), str(tmp_path / "whole.jsonl"))
    assert whole.exit_code == 0
    assert read_jsonl(tmp_path / "whole.jsonl") == found


def test_rows_without_an_answer_go_to_a_file_and_the_status_says_so(
    project: Path, tmp_path: Path
) -> None:
    rows = [{"text": "fine"}, {"text": None}, {"text": 7}, {"text": "good"}]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    done = run(str(source), str(tmp_path / "out.csv"))
    assert done.exit_code == 1
    faults = read_jsonl(tmp_path / "out.csv.errors.jsonl")
    assert [fault["row"] for fault in faults] == [2, 3]
    assert "7" in faults[1]["error"]
    with (tmp_path / "out.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert list(found[0]) == [
        "text",
        "predicted_label",
        "probabilities.good",
        "probabilities.fair",
        "probabilities.poor",
    ]
    assert [bool(row["predicted_label"]) for row in found] == [True, False, False, True]


def test_parquet_keeps_its_types(project: Path, tmp_path: Path) -> None:
    from datetime import date

    days = pa.array([date(2024, 1, 1), None, date(2024, 1, 3)])
    table = pa.table({"text": TEXTS[:3], "day": days, "n": pa.array([1, 2, 3], pa.int8())})
    pq.write_table(table, tmp_path / "in.parquet")
    done = run(
        str(tmp_path / "in.parquet"),
        str(tmp_path / "out.parquet"),
        *("--no-labels", "--max-new-tokens", "4", "--chunk-rows", "2"),
    )
    assert done.exit_code == 0, done.output
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["text", "day", "n"]).equals(table)
    assert found.schema.field("answer").type == pa.string()


def test_what_does_not_fit_is_told_before_any_work(project: Path, tmp_path: Path) -> None:
    good = write_jsonl(tmp_path / "good.jsonl", [{"a": "x", "b": "y"}])
    named = write_jsonl(tmp_path / "named.jsonl", [{"text": "x", "predicted_label": "y"}])
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "x"}\n{"text": ', encoding="utf-8")
    for words, match in (
        ((str(good), str(tmp_path / "o.jsonl")), "not clear which column"),
        ((str(good), str(tmp_path / "o.jsonl"), "--column", "aa"), "no column 'aa'"),
        ((str(good), str(tmp_path / "o.jsonk")), "ending"),
        ((str(named), str(tmp_path / "o.jsonl")), "predicted_label"),
        ((str(broken), str(tmp_path / "o.jsonl")), "broken.jsonl:2"),
        ((str(tmp_path / "none.jsonl"), str(tmp_path / "o.jsonl")), "no file"),
    ):
        done = run(*words)
        assert isinstance(done.exception, TunelineError), done.output
        assert match in str(done.exception)
    assert not (tmp_path / "o.jsonl").exists()
    prefixed = run(str(named), str(tmp_path / "o.jsonl"), "--prefix", "new_")
    assert prefixed.exit_code == 0
    assert read_jsonl(tmp_path / "o.jsonl")[0]["new_predicted_label"] in SHAPE.labels


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(project: Path, tmp_path: Path) -> None:
    rows = [{"text": text} for text in TEXTS * 20]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    words = [str(source), str(tmp_path / "out.jsonl"), "--chunk-rows", "8", "--threads", "1"]
    words += ["--no-labels", "--max-new-tokens", "24", "--temperature", "0.7"]
    child = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "batch-predict", *words, "-m", "tiny@champion"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    parts = tmp_path / "out.jsonl.partial"
    while len(list(parts.glob("*.jsonl"))) < 3 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "killed before it came to its end"
    assert not (tmp_path / "out.jsonl").exists()
    before = {file: file.stat().st_mtime_ns for file in parts.glob("*.jsonl")}
    damaged = min(before)
    damaged.write_bytes(damaged.read_bytes()[:-5])
    other = run(*words, "--seed", "1")
    assert isinstance(other.exception, DataError)
    assert "seed was 0, is 1" in str(other.exception)

    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["reused"] == 8 * (len(before) - 1), "the damaged chunk was made anew"
    whole = run(str(source), str(tmp_path / "whole.jsonl"), *words[2:])
    assert whole.exit_code == 0
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


class Interrupts:
    """Listens until so many rows are done, then ends the run as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def progress(self, label: str, done: int, total: int) -> None:
        if done >= self.after:
            raise KeyboardInterrupt


def test_an_interrupted_run_keeps_its_whole_chunks(model: TextModel, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    predictor = Predictor(model, SHAPE, Generation(max_new_tokens=4, temperature=1.0))
    job = Job(source, tmp_path / "out.jsonl", predictor, "bytes", chunk_rows=5)
    with pytest.raises(KeyboardInterrupt):
        predict_file(job, Interrupts(13))  # type: ignore[arg-type]
    assert not job.out.exists()
    assert len(list(job.parts.folder.glob("*.jsonl"))) == 2
    with pytest.raises(DataError, match="model was 'bytes', is 'others'"):
        predict_file(replace(job, model="others"), Silent())
    assert predict_file(job, Silent()).reused == 10
    whole = replace(job, out=tmp_path / "whole.jsonl")
    assert predict_file(whole, Silent()).reused == 0
    assert whole.out.read_bytes() == job.out.read_bytes()


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "p")
    with parts.alone(), pytest.raises(DataError, match="another process"), parts.alone():
        pass
    parts.begin({"a": 1}, restart=False)
    parts.write(0, [{"row": 1}])
    with pytest.raises(DataError, match="a was 1, is 2"):
        parts.begin({"a": 2}, restart=False)
    assert parts.read(0) == [{"row": 1}]
    parts.begin({"a": 2}, restart=True)
    assert parts.read(0) is None
