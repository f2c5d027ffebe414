"""Evaluation sets in local files: read by their ending, and named when they cannot be."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planted import row, sentence, sound

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.validation.evaluation_sets import read_sets
from components.validation.settings import EvaluationSet

ROWS = [{"question": "who was it", "answer": "him"}, {"question": "and, then", "answer": "her"}]
TEXTS = ["who was it", "him", "and, then", "her"]


def write(folder: Path, name: str) -> EvaluationSet:
    file = folder / name
    if name.endswith(".jsonl"):
        file.write_text('{"question": "who was it", "answer": "him"}\n\n' + _second())
    elif name.endswith(".csv"):
        file.write_text('question,answer\nwho was it,him\n"and, then",her\n')
    elif name.endswith(".tsv"):
        file.write_text("question\tanswer\nwho was it\thim\nand, then\ther\n")
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    return EvaluationSet(path=name, columns=("question", "answer"))


def _second() -> str:
    return '{"question": "and, then", "answer": "her"}\n'


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_texts_of_every_kind_of_file_with_their_places(tmp_path: Path, name: str) -> None:
    read = read_sets(tmp_path, (write(tmp_path, name),))
    assert read.texts == TEXTS
    assert read.places == [f"{name}:1", f"{name}:1", f"{name}:2", f"{name}:2"]


def test_a_text_file_has_one_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert read_sets(tmp_path, (EvaluationSet(path="a.txt"),)).texts == ["one", "two"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "gone.jsonl"}, "gone.jsonl cannot be read"),
        ({"path": "a.pdf"}, "kind of file '.pdf' is not known"),
        (
            {"path": "a.jsonl", "columns": ["qestion"]},
            "no column 'qestion'; did you mean 'question'",
        ),
        ({"path": "bad.jsonl"}, "bad.jsonl cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    write(tmp_path, "a.jsonl")
    (tmp_path / "bad.jsonl").write_text("{half a li")
    with pytest.raises(DataError, match=r"validation\.contamination") as error:
        read_sets(tmp_path, (EvaluationSet(**given),))
    assert said in str(error.value)


def test_test_rows_may_stand_in_an_evaluation_set_and_rows_to_train_on_may_not(
    run: Any, context: Context
) -> None:
    rows = sound(60)
    (context.root / "all.txt").write_text("\n".join(one["text"].upper() for one in rows))
    dataset = run(
        [*rows, row(sentence("another"))],
        contamination=[{"path": "all.txt"}],
        max_quarantined_share=1,
        severity={"split_rows": "warn"},
    )
    assert dataset.facts["splits"]["test"] > 0
    assert dataset.facts["splits"]["train"] + dataset.facts["splits"]["validation"] <= 1
    assert set(dataset.facts["quarantined"]) == {"contamination"}
