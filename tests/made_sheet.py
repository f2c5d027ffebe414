"""Sheets of made-up answers, for tests that need no model."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.artefacts import write_json
from components.contracts.kinds import Dataset, Evaluation, Verification
from components.contracts.tables import dataset_schema
from components.judging.line import Line
from components.judging.pairs import Pair, write_pairs
from components.judging.sheet import PAIRS, SHEET, Sheet, open_sheet
from components.scoring.items import Score
from components.scoring.tables import write_scores

WORDS = ("good", "fair", "poor")


def made_pairs(count: int) -> list[Pair]:
    """Return pairs whose answers name their model to the test, and only to it."""
    return [
        Pair(
            f"item-{n}",
            ({"role": "user", "content": f"Question {n}?"},),
            {"base": f"old answer {n}", "int8": f"new answer {n}"},
        )
        for n in range(count)
    ]


def made_sheet(folder: Path, count: int = 10, pairs: list[Pair] | None = None) -> Sheet:
    """Write a sheet of `count` pairs, base against int8."""
    folder.mkdir(parents=True, exist_ok=True)
    write_pairs(folder / PAIRS, made_pairs(count) if pairs is None else pairs)
    facts = {
        "models": ["base", "int8"],
        "task": None,
        "samples": 100,
        "seed": 0,
        "max_new_tokens": 256,
        "made_from": {"evaluation": "0" * 64},
        "answers": "labels",
        "items": count + 5,
        "same": 5,
    }
    write_json(folder / SHEET, facts)
    sheet = open_sheet(folder)
    assert sheet is not None
    return sheet


def made_line(folder: Path, count: int = 24) -> Line:
    """Write dataset, evaluation and verification of label words; int8 is right, base often not.

    The base answers every third item as int8 does.
    """
    rows = [label_row(n) for n in range(count)]
    with Dataset.write(folder / "dataset") as draft:
        table = pa.Table.from_pylist(rows, schema=dataset_schema())
        pq.write_table(table, draft.folder / "test.parquet")
        draft.facts = {}
    with Evaluation.write(folder / "evaluation") as draft:
        for name, shift in (("base", 1), ("tuned", 0)):
            write_scores(draft.folder / f"{name}.parquet", [score(n, shift) for n in range(count)])
        items = {"split": "test", "limit": None, "texts": 0, "count": count}
        draft.facts = {"items": items, "models": {"base": {}, "tuned": {}}}
    with Verification.write(folder / "verification") as draft:
        write_scores(draft.folder / "int8.parquet", [score(n, 0) for n in range(count)])
        draft.facts = {"variants": {"int8": {}}}
    return Line(folder)


def label_row(n: int) -> dict[str, object]:
    said = f"Thing {n} <b>&amp;</b> more"
    messages = (
        f'[{{"role": "system", "content": "good, fair or poor?"}}, {{"role": "user", "content": '
        f'"{said}"}}, {{"role": "assistant", "content": "{WORDS[n % 3]}"}}]'
    )
    return {
        "id": f"item-{n}",
        "source": "made",
        "row": n,
        "text": said,
        "messages": messages,
        "answer": WORDS[n % 3],
        "choices": list(WORDS),
        "target": n % 3,
        "rejected": "",
        "references": [WORDS[n % 3]],
    }


def score(n: int, shift: int) -> Score:
    choice = (n + (shift if n % 3 else 0)) % 3
    return Score(
        id=f"item-{n}",
        choice_logprobs=(-1.0, -1.0, -1.0),
        choice=choice,
        target=n % 3,
        right=choice == n % 3,
        greedy=choice == n % 3,
        answer_nll=1.0,
        answer_tokens=2,
        text_nll=0.0,
        text_tokens=0,
        text_bytes=0,
    )
