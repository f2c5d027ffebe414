"""The rows that tasks ask about: held-out rows of the dataset, or a file of JSON lines."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, RecipeError
from components.contracts.kinds import Dataset
from components.formats.detect import resolve
from components.formats.example import RowError
from components.formats.read import read
from components.formats.settings import FormatSettings

COLUMNS = ["id", "messages", "answer", "choices", "target", "references", "text"]


@dataclass(frozen=True)
class Row:
    """A question and its accepted answers: `turns` are all messages before the answer."""

    id: str
    turns: tuple[Mapping[str, str], ...]
    answer: str
    choices: tuple[str, ...]
    target: int
    references: tuple[str, ...]
    text: str


def split_rows(dataset: Dataset, split: str) -> list[Row]:
    """Return the rows of a split of the dataset."""
    import pyarrow.parquet as pq

    table = pq.read_table(dataset.split(split), columns=COLUMNS)
    return [_row(one["id"], json.loads(one["messages"] or "[]"), one) for one in table.to_pylist()]


def file_rows(root: Path, path: str, settings: FormatSettings) -> list[Row]:
    """Return the rows of a file of JSON lines in the given format (`auto`: told by its columns).

    Raises `RecipeError` if there is no such file, `DataError` naming the line of a row that does
    not fit.
    """
    lines = json_lines(root, path)
    concrete = resolve(settings, list(lines[0]), lines[:100])
    rows = []
    for number, fields in enumerate(lines, start=1):
        try:
            example = read(fields, concrete)
        except RowError as error:
            raise DataError(
                f"{path}:{number}: {error.problem}", fix="mend the row, or the task's format"
            ) from error
        rows.append(_row(f"{number}", example.messages, example.__dict__))
    return rows


def json_lines(root: Path, path: str) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines; raise `RecipeError` or `DataError` as above."""
    file = root / path
    if not file.is_file():
        raise RecipeError(
            f"evaluation: there is no file {path}", fix="put it there, or mend the task's path"
        )
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: no JSON: {error}", fix="write one JSON object a line"
            ) from error
        if row is not None and not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: found {type(row).__name__}, not an object",
                fix="write one JSON object a line",
            )
        rows += [row] if row is not None else []
    if not rows:
        raise DataError(f"{path} has no rows", fix="write one JSON object a line")
    return rows


def texts(root: Path, path: str, column: str) -> list[str]:
    """Return one column of a file of JSON lines; raise `DataError` where it holds no text."""
    found = []
    for number, row in enumerate(json_lines(root, path), start=1):
        value = row.get(column)
        if not isinstance(value, str):
            raise DataError(
                f"{path}: row {number} has no text in column '{column}' "
                f"(columns: {', '.join(row)})",
                fix="mend the row, or set text_column",
            )
        found.append(value)
    return found


def word_list(root: Path, path: str) -> tuple[str, ...]:
    """Return the words of a file, one a line; `#` begins a remark. Raises `RecipeError` if none."""
    file = root / path
    if not file.is_file():
        raise RecipeError(
            f"evaluation: there is no file {path}", fix="put it there, or mend words_path"
        )
    lines = file.read_text(encoding="utf-8").splitlines()
    words = [line.partition("#")[0].strip() for line in lines]
    found = tuple(word for word in words if word)
    if not found:
        raise RecipeError(f"evaluation: {path} has no words", fix="write one word a line")
    return found


def draw(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Return `count` rows drawn without replacement, the same for the same seed."""
    answered = [row for row in rows if row.turns]
    if len(answered) < count:
        raise DataError(
            f"{count} few-shot examples are asked for, but there are {len(answered)} rows with "
            "answers to draw from",
            fix="lower num_fewshot, or give more rows to train on",
        )
    return random.Random(seed).sample(answered, count)


def _row(name: str, messages: Sequence[Any], values: Mapping[str, Any]) -> Row:
    return Row(
        id=name,
        turns=tuple(messages[:-1]),
        answer=values["answer"],
        choices=tuple(values["choices"] or ()),
        target=values["target"],
        references=tuple(values["references"] or ()),
        text=values["text"],
    )
