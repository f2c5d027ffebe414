"""Chunks that are answered elsewhere, in any order, make the same output."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.contracts.events import Silent
from components.contracts.kinds import Onnx
from components.runtime.generate import Generation
from components.runtime.predict import Predictor
from components.runtime.shape import Shape
from components.runtime.text import TextModel
from flows.batch_run import Done, Job, predict_file
from flows.batch_spread import Elsewhere

SHAPE = Shape(system="good, fair or poor?", labels=("good", "fair", "poor"), single_turn=True)


def backwards(function: Any, items: Any) -> Iterator[Any]:
    """Work on the last chunk first, each as another process would: from pickled copies."""
    sent = [pickle.dumps((function, item)) for item in items]
    made = {}
    for place in reversed(range(len(sent))):
        copy, item = pickle.loads(sent[place])
        made[place] = pickle.loads(pickle.dumps(copy(item)))
    yield from (made[place] for place in range(len(sent)))


def broken(function: Any, items: Any) -> Iterator[Any]:
    """Answer one chunk, then lose the cluster."""
    for item in items:
        yield function(item)
        raise ConnectionError("the cluster is gone")


@pytest.mark.parametrize("labels", [True, False])
def test_the_same_file(tiny_onnx: Onnx, tmp_path: Path, labels: bool) -> None:
    source = tmp_path / "in.jsonl"
    rows = [{"text": f"{'so ' * (n % 7)}text {n}" if n != 5 else ""} for n in range(24)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = tiny_onnx.variant("int8")
    how = Generation(max_new_tokens=6, temperature=1.0, seed=3)
    predictor = Predictor(TextModel(folder, threads=1), SHAPE, how, labels=labels)

    def job(name: str) -> Job:
        return Job(source, tmp_path / name, predictor, "bytes", chunk_rows=7)

    assert predict_file(job("here.jsonl"), Silent()) == Done(24, 1, 0)
    there = Elsewhere(backwards, folder, "cpu", 1)
    assert predict_file(job("there.jsonl"), Silent(), there) == Done(24, 1, 0)
    with pytest.raises(ConnectionError):
        predict_file(job("again.jsonl"), Silent(), Elsewhere(broken, folder, "cpu", 1))
    assert predict_file(job("again.jsonl"), Silent(), there) == Done(24, 1, 7)
    for name in ("there", "again"):
        for ending in (".jsonl", ".jsonl.errors.jsonl"):
            made = (tmp_path / f"{name}{ending}").read_bytes()
            assert made == (tmp_path / f"here{ending}").read_bytes()
